"""Logits of every token, where one token's are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx_ir as ir

from npuopt.graph import Builder, DataType, Editor, infer_shapes, is_constant, label, rank
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertTokenChoice(Pass):
    """A product over all tokens is computed for one of them, which a new input names.

    `logits = MatMul(x, w)` -> `logits = MatMul(Gather<axis = 1>(x, last_token), w)`, last_token: int64[1]

    Left alone: a product whose first operand is not [batch, tokens, width], or that other nodes than those behind it
    on the way to the outputs would see shortened.

    Attributes:
        product: the product's output; nothing is done without it.
        input: what the new input is called.
    """

    name: ClassVar[str] = "insert-token-choice"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})
    keeps_interface: ClassVar[bool] = False

    product: str = ""
    input: str = "last_token"

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Choose the token ahead of the product."""
        del target
        report = Report(self.name)
        node = next((node for node in model.graph if any(item.name == self.product for item in node.outputs)), None)
        if not self.product or node is None or any(value.name == self.input for value in model.graph.inputs):
            return report
        if rank(node.inputs[0]) != 3 or is_constant(node.inputs[0]):
            report.declined.append(Entry(label(node), node.op_type, "its data are not [batch, tokens, width]"))
            return report
        edit = Editor(model)
        chosen = ir.Value(name=edit.fresh_name(self.input), shape=ir.Shape([1]), type=ir.TensorType(DataType.INT64))
        model.graph.inputs.append(chosen)
        node.replace_input_with(0, Builder(edit, node)("Gather", node.inputs[0], chosen, axis=1))
        for value in _behind(node.outputs[0]):
            if value.shape is not None and len(value.shape) == 3:
                value.shape = ir.Shape([value.shape[0], 1, value.shape[2]])
        infer_shapes(model)
        report.changed.append(Entry(label(node), node.op_type, f"computes the token {chosen.name} only"))
        report.notes.append(f"new input {chosen.name}: which token of a run has its logits computed")
        return report


def _behind(value: Value) -> list[Value]:
    """List a value and all that is made of it."""
    found = {value: None}
    pending = [value]
    while pending:
        for use in pending.pop().uses():
            fresh = [output for output in use.node.outputs if output not in found]
            found.update(dict.fromkeys(fresh))
            pending += fresh
    return list(found)
