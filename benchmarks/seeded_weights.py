"""The light CNNs of the onnx package, whose weights are one number each, with weights drawn from a seed."""

from __future__ import annotations

import zlib
from math import prod, sqrt
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def seeded_weights(source: Path, path: Path) -> None:
    """Write `source` to `path` with a drawn tensor for each ConstantOfShape.

    Filters are normal with a variance of 2 / fan-in (He et al. 2015, arXiv:1502.01852), so that activations keep their
    size through the layers; vectors lie near what a trained normalization has: variances and scales near 1, means and
    shifts near 0. The draw of a tensor depends on its name alone.
    """
    model = onnx.load(source)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    near_one = _factors(model.graph)
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        name, shape = node.output[0], tuple(int(dim) for dim in shapes[node.input[0]])
        model.graph.initializer.append(numpy_helper.from_array(_draw(name, shape, near_one=name in near_one), name))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, path)


def _factors(graph: onnx.GraphProto) -> set[str]:
    """Return what channels are divided by or multiplied with: variances and scales."""
    spread = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Unsqueeze", "Reshape")}
    factors = {node.input[at] for node in graph.node if node.op_type == "BatchNormalization" for at in (1, 4)}
    factors |= {name for node in graph.node if node.op_type == "Mul" for name in node.input}
    return factors | {spread[name] for name in factors if name in spread}


def _draw(name: str, shape: tuple[int, ...], *, near_one: bool) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        return random.normal(scale=sqrt(2 / prod(shape[1:])), size=shape).astype(np.float32)
    drawn = random.uniform(0.9, 1.1, shape) if near_one else random.normal(scale=0.02, size=shape)
    return drawn.astype(np.float32)
