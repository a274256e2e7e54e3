# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Reductions and normalizations."""

from collections.abc import Callable

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from onnx_to_mil.table import EMITTERS, Node, Value, constant, emits, rank, variable

REDUCTIONS = {
    "ReduceL1": "reduce_l1_norm", "ReduceL2": "reduce_l2_norm", "ReduceLogSumExp": "reduce_log_sum_exp",
    "ReduceMax": "reduce_max", "ReduceMean": "reduce_mean", "ReduceMin": "reduce_min", "ReduceProd": "reduce_prod",
    "ReduceSum": "reduce_sum", "ReduceSumSquare": "reduce_sum_square",
}  # fmt: skip


def _reduction(operation: str) -> Callable:
    def emit(node: Node) -> Value:
        axes = node.fixed(1) or node.get("axes")
        if not axes and node.get("noop_with_empty_axes", 0):
            return node.inputs[0]
        axes = [int(axis) for axis in axes] if axes else list(range(rank(node.inputs[0])))
        return getattr(mb, operation)(x=node.inputs[0], axes=axes, keep_dims=bool(node.get("keepdims", 1)))

    return emit


EMITTERS |= {op: _reduction(name) for op, name in REDUCTIONS.items()}


def _arg(operation: str) -> Callable:
    def emit(node: Node) -> Value:
        if node.get("select_last_index", 0):
            raise ValueError(f"{node.op_type} with select_last_index is not taken")
        keep = bool(node.get("keepdims", 1))
        return getattr(mb, operation)(x=node.inputs[0], axis=node.get("axis", 0), keep_dims=keep)

    return emit


EMITTERS |= {"ArgMax": _arg("reduce_argmax"), "ArgMin": _arg("reduce_argmin")}


@emits("Softmax")
def softmax(node: Node) -> Value:
    """Along one axis."""
    return mb.softmax(x=node.inputs[0], axis=node.get("axis", -1))


@emits("LogSoftmax")
def log_softmax(node: Node) -> Value:
    """What is above the logarithm of the sum of exponentials."""
    value, axis = node.inputs[0], node.get("axis", -1)
    return mb.sub(x=value, y=mb.reduce_log_sum_exp(x=value, axes=[axis], keep_dims=True))


@emits("LayerNormalization")
def layer_normalization(node: Node) -> Value:
    """Over the last axes; scale and bias are constants in MIL."""
    value = node.inputs[0]
    axes = list(range(node.get("axis", -1) % rank(value), rank(value)))
    given = {name: constant(node.input(index)) for index, name in ((1, "gamma"), (2, "beta"))}
    shape = tuple(value.shape[axis] for axis in axes)
    known = {
        name: np.broadcast_to(array, shape).astype(np.float32) for name, array in given.items() if array is not None
    }
    return mb.layer_norm(x=value, axes=axes, epsilon=np.float32(node.get("epsilon", 1e-5)), **known)


@emits("RMSNormalization")
def rms_normalization(node: Node) -> Value:
    """Divided by the root of the mean square over the last axes."""
    value = node.inputs[0]
    axes = list(range(node.get("axis", -1) % rank(value), rank(value)))
    mean = mb.reduce_mean(x=mb.mul(x=value, y=value), axes=axes, keep_dims=True)
    root = mb.rsqrt(x=mean, epsilon=np.float32(node.get("epsilon", 1e-5)))
    return mb.mul(x=mb.mul(x=value, y=root), y=variable(node.inputs[1]))


@emits("InstanceNormalization")
def instance_normalization(node: Node) -> Value:
    """Over the places of each channel."""
    gamma, beta = (constant(node.input(index)).astype(np.float32) for index in (1, 2))
    epsilon = np.float32(node.get("epsilon", 1e-5))
    return mb.instance_norm(x=node.inputs[0], gamma=gamma, beta=beta, epsilon=epsilon)


@emits("BatchNormalization")
def batch_normalization(node: Node) -> Value:
    """By known mean and variance of each channel."""
    gamma, beta, mean, variance = (constant(node.input(index)).astype(np.float32) for index in range(1, 5))
    epsilon = np.float32(node.get("epsilon", 1e-5))
    return mb.batch_norm(x=node.inputs[0], mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon)
