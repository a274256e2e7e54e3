"""Gives layers low-rank adapters that are inputs of the model: one compiled graph serves them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from npuopt.errors import InputError
from npuopt.graph import Editor, Shape, TensorType, Value, attribute, element_type, is_op, label
from npuopt.passes.tune.adapters import read_adapters
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node
    from npuopt.passes.tune.adapters import Adapter
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertAdapters(Pass):
    """Add to each adapted layer the product with two thin matrices, which become inputs of the model.

    `y = MatMul(x, W)` becomes `y = MatMul(x, W) + MatMul(MatMul(x, down), up)`, with the inputs `layer.down`
    [features, rank] and `layer.up` [rank, outputs]: A transposed, and B transposed times alpha / rank. Zeros in `up`
    give back the model as it was; other adapters of the same ranks go in without compiling again.

    Left alone: layers without an adapter; Gemm with an alpha, a beta or over vectors that are no rows.

    Attributes:
        adapters: the file that says which layers, and with which ranks; as for fold-adapters.
    """

    name: ClassVar[str] = "insert-adapters"
    keeps_interface: ClassVar[bool] = False

    adapters: Mapping[str, Any] | Path = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Insert the products.

        Raises:
            InputError: when an adapter fits no layer, or an input's name is taken; nothing is changed then.
        """
        del target  # which layers have one is the file's choice
        report, edit = Report(self.name), Editor(model)
        found = read_adapters(self.adapters, model)
        if not found:
            report.notes.append("no adapters were given, so nothing is changed")
        taken = {value.name for value in (*model.graph.inputs, *model.graph.initializers.values())}
        for adapter in found:
            for name in input_names(adapter.layer):
                if name in taken:
                    raise InputError("the model has an input or weight of this name already", where=name)
        for adapter in found:
            node = adapter.node
            if is_op(node, "Gemm") and attribute(node, "alpha", 1.0) != 1.0:
                report.declined.append(Entry(label(node), node.op_type, "its product has a factor of its own"))
                continue
            _insert(adapter, model, edit)
            rank = adapter.down.shape[1]
            report.changed.append(Entry(label(node), node.op_type, f"an adapter of rank {rank} is an input"))
        return report


def input_names(layer: str) -> tuple[str, str]:
    """Return the names of the inputs that hold a layer's adapter: down, then up."""
    return f"{layer}.down", f"{layer}.up"


def _insert(adapter: Adapter, model: Model, edit: Editor) -> None:
    node, output = adapter.node, adapter.node.outputs[0]
    kind = element_type(adapter.weight)
    held: list[Value] = []
    for name, array in zip(input_names(adapter.layer), (adapter.down, adapter.up), strict=True):
        value = Value(name=name, shape=Shape(array.shape), type=None if kind is None else TensorType(kind))
        model.graph.inputs.append(value)
        held.append(value)
    thin = edit.emit("MatMul", [node.inputs[0], held[0]], before=node, name=f"{adapter.layer}/down")
    added = edit.emit("MatMul", [thin, held[1]], before=node, name=f"{adapter.layer}/up")
    total = edit.emit_after("Add", [output, added], after=node, name=f"{adapter.layer}/adapted")
    adding = cast("Node", total.producer())
    edit.replace(output, total)
    adding.replace_input_with(0, node.outputs[0])
