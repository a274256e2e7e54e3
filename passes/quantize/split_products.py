"""Splits products of which an operand is held in few bits into the sum of two, for its high bits and for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from pydantic import ValidationError

from npuopt.errors import InputError
from npuopt.graph import Editor, input_at, is_constant, is_op, static_shape
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.arithmetic import STORAGE
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target

    Halves = dict[tuple[Value, Encoding], tuple[Value, Value]]


PART = "npuopt.part_of_operand"
"""Annotation of the two parts of an operand, which are not to be split again."""


@dataclass(frozen=True)
class SplitProducts(Pass):
    """Write a product of two run-time tensors as the sum of two, for the high bits of its second operand and the rest.

    `y = MatMul(a, b)`
    `-> h = DequantizeLinear(QuantizeLinear(b)); y = Add(MatMul(a, h), MatMul(a, Sub(b, h)))`

    The same numbers come out, up to the order of sums. Where the second operand of a product may only have 8 bits,
    both parts together have nearly 16. Products that read one tensor share its parts.

    Left alone: products with a constant, and where the target refuses one of the new nodes.

    Attributes:
        encodings: how the high bits are held, with one scale, by the name of what the product makes.
    """

    name: ClassVar[str] = "split-products"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-static"})

    encodings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Split each product that an encoding is given for."""
        report = Report(self.name)
        edit = Editor(model)
        halves: Halves = {}
        more = 0
        for node in list(model.graph) if self.encodings else ():
            name = node.outputs[0].name or ""
            if name not in self.encodings:
                continue
            encoding = _checked(self.encodings[name], name)
            count = multiplications(node) if is_product(node) else 0
            why = _split(node, encoding, edit, target, halves) if count else "no product of two run-time tensors"
            if why:
                report.declined.append(Entry(name, node.op_type, why))
                continue
            more += count
            report.changed.append(Entry(name, node.op_type, f"high bits in {encoding.dtype}, {count:,} MACs more"))
        if more:
            report.notes.append(f"{more:,} MACs more")
        return report


def is_product(node: Node) -> bool:
    """Say whether a node multiplies two matrices of which the second is made at run time, and is no part of one."""
    second = input_at(node, 1)
    return (
        is_op(node, "MatMul") and second is not None and not is_constant(second) and PART not in second.metadata_props
    )


def multiplications(node: Node) -> int:
    """Return how many numbers a product of matrices multiplies."""
    return prod(static_shape(node.outputs[0]) or (0,)) * (static_shape(node.inputs[0]) or (0,))[-1]


def _checked(given: Any, where: str) -> Encoding:  # noqa: ANN401 -- an option, as a file or a caller has it
    """Return the encoding; raise InputError where it is none, or one for each channel."""
    try:
        encoding = Encoding.model_validate(given)
    except ValidationError as error:
        raise InputError(f"is no encoding: {error.errors()[0]['msg']}", where=where) from None
    if encoding.axis is not None:
        raise InputError("the high bits of an operand have one scale for all channels", where=where)
    return encoding


def _split(node: Node, encoding: Encoding, edit: Editor, target: Target | None, halves: Halves) -> str:
    """Split a product; return why not where the target is against it."""
    first, second = cast("Value", node.inputs[0]), cast("Value", node.inputs[1])
    before = halves.get((second, encoding))
    high, low = before or _halved(second, encoding, node, edit)
    products = [edit.emit("MatMul", [first, part], before=node, name=part.name or "") for part in (high, low)]
    total = edit.emit("Add", products, before=node)
    new = [cast("Node", value.producer()) for value in (*products, total, low)]
    if target is not None and (refused := next((item for item in new if not target.accepts(item)), None)) is not None:
        why = f"the {refused.op_type} would be refused: {target.accepts(refused).reasons[0]}"
        constants = cast("Node", high.producer()).inputs[1:]
        edit.erase_unread(total.producer())
        for value in constants:
            if value is not None and not value.uses():
                del edit.model.graph.initializers[value.name or ""]
        return why
    halves[second, encoding] = high, low
    name = node.outputs[0].name
    edit.replace_node(node, total)
    total.name = name
    return ""


def _halved(value: Value, encoding: Encoding, node: Node, edit: Editor) -> tuple[Value, Value]:
    """Return the high bits of a tensor, and what is left of it."""
    scale = edit.constant(np.asarray(encoding.scale[0], np.float32), near=node, name=f"{value.name}/high_scale")
    point = np.asarray(encoding.zero_point[0]).astype(STORAGE[encoding.dtype])
    held = [scale, edit.constant(point, near=node, name=f"{value.name}/high_zero_point")]
    integers = edit.emit("QuantizeLinear", [value, *held], before=node, name=f"{value.name}/high")
    high = edit.emit("DequantizeLinear", [integers, *held], before=node, name=f"{value.name}/high")
    low = edit.emit("Sub", [value, high], before=node, name=f"{value.name}/low")
    for part in (high, low):
        part.metadata_props[PART] = value.name or ""
    return high, low
