"""Low-rank adapters matched to the layers of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from npuopt.errors import InputError
from npuopt.graph import attribute, constant, input_at, is_constant, is_op, nodes
from npuopt.graph.low_rank import LowRank, read_low_rank

if TYPE_CHECKING:
    import numpy as np

    from npuopt.graph import Model, Node, Value


@dataclass(frozen=True)
class Adapter(LowRank):
    """What is added to one layer.

    Attributes:
        layer: its name in the file.
        node: the Gemm or MatMul.
    """

    layer: str
    node: Node

    @property
    def weight(self) -> Value:
        """The layer's weight."""
        return cast("Value", self.node.inputs[1])

    @property
    def is_transposed(self) -> bool:
        """Say whether the weight is held as [outputs, features]."""
        return is_op(self.node, "Gemm") and bool(attribute(self.node, "transB", 0))


def read_adapters(given: Mapping[str, Any] | Path, model: Model) -> list[Adapter]:
    """Match the adapters of a file, or of a mapping of its arrays, to the layers of a model.

    A layer is found by the name of its weight, with or without `.weight` at its end, or by the name of its node.

    Raises:
        InputError: when the file cannot be read, half of an adapter is missing, no layer has the name, or the shapes
            do not fit it.
        ToolchainMissingError: for a .safetensors file without that package.
    """
    layers = _layers(model)
    return [_adapter(layer, read, layers) for layer, read in read_low_rank(given).items()]


def _adapter(layer: str, read: LowRank, layers: Mapping[str, Node]) -> Adapter:
    node = layers.get(layer)
    if node is None:
        raise InputError("an adapter is given for a layer that the model does not have", where=layer)
    shape = cast("np.ndarray", constant(node.inputs[1])).shape
    adapter = Adapter(read.down, read.up, read.scale, layer, node)
    outputs, features = shape if adapter.is_transposed else shape[::-1]
    given = read.down.shape[0], read.up.shape[1]
    if given != (features, outputs):
        what = f"an adapter from {given[0]} to {given[1]} features for a layer from {features} to {outputs}"
        raise InputError(what, where=layer)
    return adapter


def _layers(model: Model) -> dict[str, Node]:
    """Return the layers that an adapter can be for, by each of their names; names of several layers are left out."""
    found: dict[str, Node | None] = {}
    for node in nodes(model, "Gemm", "MatMul"):
        weight = input_at(node, 1)
        array = constant(weight) if is_constant(weight) and node.graph is model.graph else None
        if weight is None or array is None or array.ndim != 2 or attribute(node, "transA", 0):
            continue
        name = weight.name or ""
        for known in dict.fromkeys((name, name.removesuffix(".weight"), node.name or "")):
            found[known] = None if known in found else node
    return {name: node for name, node in found.items() if node is not None and name}
