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
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            kept.append(node)
            continue
        name, shape = node.output[0], tuple(int(dim) for dim in shapes[node.input[0]])
        model.graph.initializer.append(numpy_helper.from_array(_draw(name, shape, node), name))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    onnx.save(model, path)


def _draw(name: str, shape: tuple[int, ...], node: onnx.NodeProto) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        return random.normal(scale=sqrt(2 / prod(shape[1:])), size=shape).astype(np.float32)
    filled = numpy_helper.to_array(node.attribute[0].t).reshape(-1)[0] if node.attribute else np.float32(0)
    return (random.uniform(0.9, 1.1, shape) if filled >= 0.5 else random.normal(scale=0.02, size=shape)).astype(
        np.float32
    )
