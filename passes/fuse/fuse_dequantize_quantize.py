from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import attribute, constant, element_type, input_at, producer
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseDequantizeQuantize(NodePass):
    """A QuantizeLinear that takes back the DequantizeLinear before it disappears with it.

    `QuantizeLinear(DequantizeLinear(q, s, z), s, z) -> q`

    Left alone: another scale, zero point, axis, block or element type, which is a requantization; parameters given at
    run time, unless they are the same values. A QuantizeLinear ahead of a DequantizeLinear is what rounds: it stays.
    """

    name = "fuse-dequantize-quantize"
    op_types = ("QuantizeLinear",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Let the readers of `node` read what was dequantized."""
        widened = producer(input_at(node, 0), "DequantizeLinear")
        source = input_at(widened, 0) if widened is not None else None
        if widened is None or source is None:
            return None
        if element_type(source) is None or element_type(source) != element_type(node.outputs[0]):
            return Declined(f"it makes {element_type(node.outputs[0])} of {element_type(source)}")
        if not all(_same(input_at(widened, index), input_at(node, index)) for index in (1, 2)):
            return Declined("its scale or zero point is another than that of the DequantizeLinear, or not known")
        if not all(attribute(widened, name, usual) == attribute(node, name, usual) for name, usual in _AXES.items()):
            return Declined("its axis or block is another than that of the DequantizeLinear")
        edit.replace(node.outputs[0], source)
        edit.erase_unread(node)
        return Changed("took back the DequantizeLinear before it")


_AXES = {"axis": 1, "block_size": 0}


def _same(one: Value | None, other: Value | None) -> bool:
    """Say whether two parameters are the same; a zero point that is left out is zero."""
    if one is other:
        return True
    known, given = constant(one), constant(other)
    if one is None or other is None:
        present = known if one is not None else given
        return present is not None and not present.astype(np.float64).any()
    return known is not None and given is not None and known.dtype == given.dtype and np.array_equal(known, given)
