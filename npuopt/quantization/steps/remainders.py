"""The step that gives products what the bits of one operand do not hold."""

from __future__ import annotations

from math import inf, log10
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from npuopt.graph import is_constant, is_op, static_shape
from npuopt.quantization.arithmetic import SIXTEEN_BITS, affine
from npuopt.quantization.assignment.activations import HEADROOM
from npuopt.quantization.assignment.sharing import share_groups
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.channels.operand_statistics import spreads
from npuopt.quantization.encodings import per_tensor
from npuopt.quantization.roles import float_values
from npuopt.quantization.steps.contract import FloatStep, Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.channels.operand_statistics import Spread
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.steps.contract import Work

WHOLE = np.zeros((1, 1), np.int64)
"""All elements of a tensor as one channel."""


class SplitProducts(FloatStep):
    """Compute a product of 16 bits whose second operand may only have 8 as two: with its high 8 bits, and the rest.

    Some chips multiply two run-time tensors of 16 bits only with the second one rounded to 8: the keys and values of
    attention. Caches are left alone, which would take twice the memory. Measured on a small attention whose weights 8
    bits hold exactly: 72 instead of 40 dB in the result, and the vendor's simulator agrees by 64 dB. On MiniLM at a16w8
    five of twelve products are split, for 2 % more multiplications: cosine of embeddings 0.99971 instead of 0.99952
    (200 sentences); all twelve gave 0.99973.

    Attributes:
        least_sqnr_db: what the result of a product must reach, with its second operand in 8 bits, to be left alone.
    """

    name: ClassVar[str] = "split-products"
    least_sqnr_db: float = 40.0

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Choose the products that 8 bits leave too noisy, and how the high bits are held."""
        if work.samples is None or work.target.scheme(work.scheme).is_weight_only:
            return
        wishes = wishes_of(work.model, work.target, work.scheme, work.precisions)
        leaving = _leaving(work.model, wishes)
        found = [
            node for node, wish in wishes.items() if _is_narrow(wish, work.scheme) and node.inputs[1] not in leaving
        ]
        tensors = [value for node in found for value in (*_operands(node), node.outputs[0])]
        if not tensors:
            return
        wanted = {value: (WHOLE, 1) for value in tensors if value.producer() is not None}
        progress = work.progress("splitting products")
        seen = spreads(work.model, wanted, work.samples, progress=progress, threads=work.threads)
        chosen: dict[str, Encoding] = {}
        for node in found:
            if _sqnr_db(node, wishes[node], seen) < self.least_sqnr_db:
                chosen[node.outputs[0].name or ""] = _high_bits(wishes[node], seen)
        if chosen:
            listed = {name: encoding.model_dump(mode="json", exclude_none=True) for name, encoding in chosen.items()}
            yield Rewrite(pass_name="split-products", options={"encodings": listed})  # noqa: S106 -- no password


def _is_narrow(wish: Wishes, scheme: str) -> bool:
    """Say whether a node multiplies two tensors that nodes make, the second one in 8 bits beside 16."""
    if not is_op(wish.node, "MatMul") or wish.scheme_name != scheme:
        return False
    if any(is_constant(value) or value is None or value.producer() is None for value in wish.node.inputs):
        return False
    return wish.operand(0) in SIXTEEN_BITS and wish.operand(1) not in SIXTEEN_BITS


def _leaving(model: Model, wishes: Mapping[Node, Wishes]) -> set[Value]:
    """Return the tensors that are only moved on their way into the graph or out of it, as caches are."""
    movers = [node for node, wish in wishes.items() if wish.moves or is_op(node, "Concat")]
    groups = [group.members for group in share_groups(float_values(model), movers)]
    return {
        value
        for members in groups
        if any(member.is_graph_input() or member.is_graph_output() for member in members)
        for value in members
    }


def _operands(node: Node) -> tuple[Value, Value]:
    return cast("Value", node.inputs[0]), cast("Value", node.inputs[1])


def _sqnr_db(node: Node, wish: Wishes, seen: Mapping[Value, Spread]) -> float:
    """Return how far the product is above the noise that rounding its second operand brings in.

    Each of the numbers that are summed up brings the square of what it is multiplied with, times a twelfth of the
    square of a step.
    """
    first, second = _operands(node)
    step = _encoding(wish, seen[second], 1.0).scale[0]
    summed = (static_shape(first) or (1,))[-1]
    noise = summed * float(seen[first].power[0]) * step**2 / 12
    signal = float(seen[node.outputs[0]].power[0])
    return 10 * log10(signal / noise) if signal > 0 and noise > 0 else inf


def _high_bits(wish: Wishes, seen: Mapping[Value, Spread]) -> Encoding:
    """Return how the operand's high bits are held, with room for what was not seen: the rest holds the finer steps."""
    return _encoding(wish, seen[_operands(wish.node)[1]], HEADROOM)


def _encoding(wish: Wishes, spread: Spread, spare: float) -> Encoding:
    dtype = wish.operand(1)
    ends = float(spread.low[0]) * spare, float(spread.high[0]) * spare
    scheme = wish.scheme
    return per_tensor(dtype, *affine(*ends, dtype, symmetric=scheme.activation_symmetric, shifts=scheme.power_of_two))
