"""Shows what single layers make in the toolkit's simulator, which only says what a model's outputs are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from npuopt.delegates.rknn.placement import CONVERTS, MOVES
from npuopt.delegates.samples import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ABSORBED = frozenset({"Clip", "Relu", "LeakyRelu", "PRelu", "Sigmoid", "HardSigmoid"})
"""The toolkit computes these with the layer before them, whose own result it then has no place for."""

PASSES_ON = CONVERTS | {"Identity"}


def write_with_layers(source: Path, output: Path) -> list[str]:
    """Write a model that also gives what its layers make; returns the names of all outputs.

    Left out are tensors that the toolkit does not keep: those that only an activation function reads, and those that
    are another tensor in a different shape.
    """
    model = onnx.shape_inference.infer_shapes(read_header(source))
    known = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(known[name] for name in _layers(model.graph) if name in known)
    output.write_bytes(model.SerializeToString())
    return [value.name for value in model.graph.output]


def _layers(graph: onnx.GraphProto) -> Iterator[str]:
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def reading(name: str) -> Iterator[str]:
        for node in readers.get(name, ()):
            if node.op_type in PASSES_ON:
                yield from reading(node.output[0])
            else:
                yield node.op_type

    given = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type in PASSES_ON or node.op_type in MOVES:
            continue
        kinds = set(reading(node.output[0]))
        if node.output[0] not in given and kinds and not kinds <= ABSORBED | MOVES:
            yield node.output[0]
