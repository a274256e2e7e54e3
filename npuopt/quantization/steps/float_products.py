"""The step that computes products of two run-time tensors in floats, where one of them loses too much in integers."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import input_at, is_constant, is_op
from npuopt.quantization.accuracy.local_errors import local_errors
from npuopt.quantization.arithmetic import SIXTEEN_BITS
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.steps.contract import Applied, Held, IntegerStep

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.steps.contract import Work


class FloatProducts(IntegerStep):
    """Compute products of two run-time tensors in the target's float scheme where it rounds one of them too coarsely.

    Some chips multiply 16-bit activations only by 8-bit ones: the keys and values of attention, and so the caches of a
    decoder, lose all but 8 bits. Channels of keys that run far make that coarse for the others. What counts is what a
    product makes of its rounded operands. Not standard, as floats are slower where integers do; tensors that the
    product reads are held in 16 bits then, caches included.

    Attributes:
        least_sqnr_db: what such a product must reach in integers, to stay in them.
    """

    name: ClassVar[str] = "float-products"
    least_sqnr_db: float = 36.0

    def apply(self, work: Work, held: Held) -> Applied:
        """Choose the encodings anew, with noisy products in float."""
        floats = work.target.float_scheme
        if floats is None or work.samples is None:
            return Applied(held, 0, "no float scheme of the target" if floats is None else "no data")
        known = held.encodings.precisions
        wishes = wishes_of(work.model, work.target, work.scheme, known)
        names = [node.outputs[0].name or "" for node, wish in wishes.items() if _is_uneven(node, wish)]
        errors = local_errors(work.model, held.encodings, names, work.samples, threads=work.threads)
        makers = {node.outputs[0].name or "": node for node in wishes}
        chosen = {
            name: floats
            for name in names
            if errors.nodes.get(name, inf) < self.least_sqnr_db and work.target.accepts(makers[name], floats)
        }
        if not chosen:
            return Applied(held, 0, "no product too noisy")
        encodings = work.encodings(precisions={**known, **chosen})
        if not held.encodings.corrections:
            encodings = encodings.model_copy(update={"corrections": {}})
        return Applied(Held(encodings), len(chosen), f"of {len(names)} products computed in {floats}")


def _is_uneven(node: Node, wish: Wishes) -> bool:
    """Say whether both operands are made at run time, and the second is held in fewer bits than 16-bit activations."""
    if not is_op(node, "MatMul") or any(is_constant(input_at(node, index)) for index in (0, 1)):
        return False
    return wish.operand(0) in SIXTEEN_BITS and wish.operand(1) not in SIXTEEN_BITS
