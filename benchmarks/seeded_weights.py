"""The light CNNs of the onnx package, whose weights are one number each, with weights drawn from a seed."""

from __future__ import annotations

import zlib
from math import prod, sqrt
from typing import TYPE_CHECKING, cast

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from npuopt.graph.execution import Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOGITS_DEVIATION = 1.5
"""Standard deviation of the logits; the likeliest of 1000 classes then has a probability of about 0.05.

The trained EfficientNet-Lite0 has a deviation of 1.2 and the same probability on its calibration photographs (median).
With much larger logits one class gets everything and every implementation agrees; with much smaller ones all
probabilities lie below the step of 8 bits, and they agree again.
"""


def seeded_weights(source: Path, path: Path) -> None:
    """Write `source` to `path` with a drawn tensor for each ConstantOfShape.

    Filters are normal with a variance of 2 / fan-in (He et al. 2015, arXiv:1502.01852), scales lie near 1 and shifts
    near 0; the draw of a tensor depends on its name alone. A random image then gives every layer its size, one after
    the other, as training would have: filters are divided by the standard deviation of what they make (layer-sequential
    unit variance, Mishkin and Matas 2016, arXiv:1511.06422), and variances of normalizations are multiplied by the mean
    square of what is normalized. Means stay near 0: without them by channel a random network neither grows nor shrinks
    small differences, where with them it multiplies their energy by 1.47 in each layer (Yang et al. 2019,
    arXiv:1902.08129), which no trained network does.
    """
    model = onnx.load(source)
    _fill(model.graph)
    _settle(model)
    onnx.save(model, path)


def seeded_samples(model: Path, path: Path, count: int) -> None:
    """Write `count` random images for a model of one input to `path`, as calibration data."""
    graph = ir.load(model).graph
    [value] = [value for value in graph.inputs if value.name not in graph.initializers]
    shape = cast("ir.Shape", value.shape).numpy()
    images = np.random.default_rng(1).standard_normal((count, *shape)).astype(np.float32)
    np.savez(path, allow_pickle=False, **{str(value.name): images})


def _fill(graph: onnx.GraphProto) -> None:
    """Put a drawn initializer in the place of each ConstantOfShape."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    near_one = _factors(graph)
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        name, shape = node.output[0], tuple(int(dim) for dim in shapes[node.input[0]])
        graph.initializer.append(numpy_helper.from_array(_draw(name, shape, near_one=name in near_one), name))
    del graph.node[:]
    graph.node.extend(kept)


def _factors(graph: onnx.GraphProto) -> set[str]:
    """Return what channels are divided by or multiplied with: variances and scales."""
    spread = _reshaped(graph)
    factors = {node.input[at] for node in graph.node if node.op_type == "BatchNormalization" for at in (1, 4)}
    factors |= {name for node in graph.node if node.op_type == "Mul" for name in node.input}
    return factors | {spread[name] for name in factors if name in spread}


def _reshaped(graph: onnx.GraphProto) -> dict[str, str]:
    """Return what tensors of another shape are made of."""
    return {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Unsqueeze", "Reshape")}


def _draw(name: str, shape: tuple[int, ...], *, near_one: bool) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        return random.normal(scale=sqrt(2 / prod(shape[1:])), size=shape).astype(np.float32)
    drawn = random.uniform(0.9, 1.1, shape) if near_one else random.normal(scale=0.02, size=shape)
    return drawn.astype(np.float32)


def _settle(model: onnx.ModelProto) -> None:
    """Give every layer of a filled model the size that a random image asks for, from the first to the last."""
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    values = dict(weights)
    for value in graph.input:
        if value.name not in weights:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            values[value.name] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    reshaped = _reshaped(graph)
    changed: dict[str, np.ndarray] = {}
    last: list[str] = []
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            size = _rounded(float(np.square(values[node.input[0]]).mean()))
            changed[node.input[4]] = values[node.input[4]] = weights[node.input[4]] * np.float32(size)
        results = _run(node, values, model)
        if node.op_type in ("Conv", "Gemm"):
            factor = _rounded(1 / float(results[node.output[0]].std()))
            results = {name: result * np.float32(factor) for name, result in results.items()}
            last = [reshaped.get(name, name) for name in node.input[1:]]
            changed |= {name: weights[name] * np.float32(factor) for name in last}
        elif node.op_type == "Softmax":
            factor = _rounded(LOGITS_DEVIATION / float(values[node.input[0]].std()))
            changed |= {name: changed[name] * np.float32(factor) for name in last}
        values |= results
    for tensor in graph.initializer:
        if tensor.name in changed:
            tensor.CopyFrom(numpy_helper.from_array(changed[tensor.name], tensor.name))


def _rounded(number: float) -> float:
    """Return a number to three digits, so that weights do not depend on the order of a processor's sums."""
    return float(f"{number:.3g}")


def _run(node: onnx.NodeProto, values: Mapping[str, np.ndarray], model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Run one node in ONNX Runtime."""
    feeds = {name: values[name] for name in node.input if name}
    inputs = [helper.make_tensor_value_info(name, _element(feed), feed.shape) for name, feed in feeds.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in node.output[:1]]
    graph = helper.make_graph([node], "layer", inputs, outputs)
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return Session(ir.from_proto(alone)).run(feeds)


def _element(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)
