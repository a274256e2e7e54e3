"""Normalizations as float arithmetic: TFLite has no operator for them, and in integers their squares lose too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.context import Result
from npuopt.delegates.litert.step import NONE
from npuopt.delegates.litert.values import Held, plain, shape_of
from npuopt.graph import attribute

if TYPE_CHECKING:
    from npuopt.delegates.litert.context import Context
    from npuopt.delegates.litert.step import Emitter, Step


def layer_normalization(step: Step, context: Context) -> None:
    """Write `(x - mean) * rsqrt(mean of squares + epsilon) * scale + bias`."""
    write = _Arithmetic(step, context)
    x = write.x
    centered = write.binary("SUB", x, write.mean(x))
    write.normalize(centered)


def rms_normalization(step: Step, context: Context) -> None:
    """Write `x * rsqrt(mean of squares + epsilon) * scale`."""
    write = _Arithmetic(step, context)
    write.normalize(write.x)


class _Arithmetic:
    """Float operators on tensors that only TFLite has."""

    def __init__(self, step: Step, context: Context) -> None:
        if context.integers:
            raise step.refusal("no quantized form")
        if any(output.uses() or output.is_graph_output() for output in step.outputs[1:]):
            raise step.refusal("its mean or deviation is read")
        self.step = step
        self.context = context
        depth = len(shape_of(step.input(0)))
        self.x = context.read(step.input(0), plain(depth))
        self.axes = list(range(attribute(step.node, "axis", -1) % depth, depth))

    def mean(self, x: Held) -> Held:
        """Return the mean over the normalized axes, which stay as axes of one element."""
        shape = tuple(1 if axis in self.axes else size for axis, size in enumerate(x.shape))
        made = self.context.intermediate(f"{self.step.output.name}_mean", x, shape)
        inputs = [x.index, self.context.integer_list(self.axes, "axes")]
        self.context.operator("MEAN", inputs, [made.index], x.dtype, keepDims=True)
        return made

    def binary(self, name: str, left: Held, right: Held) -> Held:
        """Return a function of two tensors, of which the second broadcasts."""
        made = self.context.intermediate(f"{self.step.output.name}_{name.lower()}", left, left.shape)
        inputs = [left.index, right.index]
        self.context.operator(name, inputs, [made.index], left.dtype, fusedActivationFunction=NONE)
        return made

    def normalize(self, x: Held) -> None:
        """Divide by the root of the mean of squares, then scale and shift."""
        context, step = self.context, self.step
        variance = self.mean(self.binary("MUL", x, x))
        epsilon = context.constant(np.array(attribute(step.node, "epsilon", 1e-5), np.float32), "epsilon")
        sums = context.intermediate(f"{step.output.name}_variance", variance, variance.shape)
        context.operator("ADD", [variance.index, epsilon], [sums.index], x.dtype, fusedActivationFunction=NONE)
        root = context.intermediate(f"{step.output.name}_rsqrt", sums, sums.shape)
        context.operator("RSQRT", [sums.index], [root.index], x.dtype)
        normal = self.binary("MUL", x, root)
        scale, bias = context.read(step.input(1)), step.optional(2)
        if bias is not None:
            normal = self.binary("MUL", normal, scale)
            scale = context.read(bias)
        name = "MUL" if bias is None else "ADD"
        result = Result(step.output, normal.order)
        context.emit(name, [normal.index, scale.index], result, fusedActivationFunction=NONE)


EMITTERS: dict[str, Emitter] = {"LayerNormalization": layer_normalization, "RMSNormalization": rms_normalization}
