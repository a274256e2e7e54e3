"""Writes expressions ahead of one node: numbers become constants of the right type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph.queries import element_type, input_at

if TYPE_CHECKING:
    import onnx_ir as ir

    from npuopt.graph.editor import AttributeLike, Editor

    Operand = ir.Value | float | None


class Builder:
    """Emits nodes ahead of one node, so that a formula reads as a formula.

    `build("Mul", x, build("Sigmoid", x))`; a Python number becomes a scalar constant of `build.type`.

    Attributes:
        node: everything is emitted ahead of it and named after it.
        type: the element type of number operands: that of the node's first input; None when it is not known.
        emitted: the op types emitted so far, in order.
    """

    def __init__(self, edit: Editor, node: ir.Node) -> None:
        self.edit = edit
        self.node = node
        self.type = element_type(input_at(node, 0))
        self.emitted: list[str] = []
        self._numbers: dict[tuple[str, ir.DataType], ir.Value] = {}

    def __call__(self, op_type: str, *operands: Operand, **attributes: AttributeLike) -> ir.Value:
        """Emit a one-output node; None leaves an optional input or attribute out."""
        return self.many(op_type, 1, *operands, **attributes)[0]

    def many(self, op_type: str, outputs: int, *operands: Operand, **attributes: AttributeLike) -> tuple[ir.Value, ...]:
        """Emit a node with several outputs."""
        self.emitted.append(op_type)
        inputs = [self.number(item) if isinstance(item, int | float) else item for item in operands]
        while inputs and inputs[-1] is None:
            inputs.pop()
        return self.edit.emit_many(op_type, inputs, attributes, before=self.node, outputs=outputs)

    def number(self, number: float) -> ir.Value:
        """Return a scalar constant of `type`, one for equal numbers.

        Raises:
            ValueError: when `type` is not known; ask for it before building.
        """
        if self.type is None:
            raise ValueError(f"{self.node.name}: the type of the first input is not known")
        key = (repr(float(number)), self.type)  # by its digits: zero has two signs
        if key not in self._numbers:
            self._numbers[key] = self.array(np.array(number))
        return self._numbers[key]

    def array(self, array: np.ndarray) -> ir.Value:
        """Return a constant with these values, cast to `type`.

        Raises:
            ValueError: when `type` is not known.
        """
        if self.type is None:
            raise ValueError(f"{self.node.name}: the type of the first input is not known")
        return self.edit.constant(array.astype(self.type.numpy()), near=self.node)

    def integers(self, *values: int) -> ir.Value:
        """Return an int64 vector constant: axes, a shape, starts, repeats."""
        return self.edit.constant(np.array(values, dtype=np.int64), near=self.node)
