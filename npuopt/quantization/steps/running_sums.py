"""Steps for the sums that run through transformers: held in floats where the integers' one step suits few channels."""

from __future__ import annotations

from math import ceil, log2
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import input_at, static_shape
from npuopt.quantization.arithmetic import SIXTEEN_BITS
from npuopt.quantization.channels.operand_statistics import spreads
from npuopt.quantization.channels.running_sums import greatest, running_sums
from npuopt.quantization.steps.contract import Applied, FloatStep, Held, IntegerStep, Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Node, Value
    from npuopt.quantization.channels.operand_statistics import Spread
    from npuopt.quantization.channels.running_sums import RunningSum
    from npuopt.quantization.encodings import Encodings
    from npuopt.quantization.steps.contract import Work

RANGE = {"float16": 65504.0}
"""The greatest number of float types that sums outgrow."""

ROOM = 4.0
"""How far below that numbers stay."""


class ScaleRunningSums(FloatStep):
    """Divide running sums that 16-bit floats could not hold by a power of two, which normalizations do not see.

    How far a sum can run follows from the scales of the normalizations that make its terms; other terms are not
    counted. Nothing is rounded by it, and integers hold the divided sum as well as before. Gemma 3 270M adds up
    numbers to 214,549, of at most 65,504 that a float of 16 bits holds; no model without normalized terms is touched.
    """

    name: ClassVar[str] = "scale-running-sums"
    serves_floats: ClassVar[tuple[str, ...]] = tuple(RANGE)

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Ask for a factor where one is needed."""
        largest = _largest(work)
        if largest is None:
            return
        scales: dict[str, float] = {}
        for running in running_sums(work.model):
            reach = greatest(running)
            if reach > largest and not running.why:
                scales[running.name] = 2.0 ** ceil(log2(reach / largest))
        if scales:
            yield Rewrite(pass_name="fold-running-sum-scale", options={"scales": scales})  # noqa: S106 -- no password


class FloatRunningSums(IntegerStep):
    """Compute running sums, and the normalizations around them, in the target's float scheme where integers fail them.

    A few channels of some models run a thousand times as far as the others, and normalizations behind them weigh the
    others just as much: integers of one step for all channels hold those badly. What counts is the median channel's
    power over that of the rounding, in the worst of the sums. Products stay integer. Measured on Gemma 3 270M at
    a16w8, whose sums run to 214,549 in one channel: the divergence of next tokens from those of the float model is
    0.017 instead of 0.056. Sums that integers hold well, and those too great for the float type, stay as they are.

    Attributes:
        least_sqnr_db: what the median channel must reach in integers, for a sum to stay in them.
    """

    name: ClassVar[str] = "float-running-sums"
    least_sqnr_db: float = 45.0

    def apply(self, work: Work, held: Held) -> Applied:
        """Choose the encodings anew, with the nodes around noisy sums in float."""
        largest, floats = _largest(work), work.target.float_scheme
        if largest is None or floats is None or work.samples is None:
            return Applied(held, 0, "no float type beside 16-bit integers" if work.samples is not None else "no data")
        found = running_sums(work.model)
        wanted = {value: _channels(value) for running in found for value in _held(running, held.encodings)}
        progress = work.progress("watching running sums")
        seen = spreads(work.model, wanted, work.samples, progress=progress, threads=work.threads) if wanted else {}
        known = held.encodings.precisions
        chosen: dict[str, str] = {}
        for running in found:
            values = _held(running, held.encodings)
            if not values or _worst(values, held.encodings, seen) >= self.least_sqnr_db:
                continue
            if _reach(values, seen) > largest * ROOM / 2:
                continue
            names = [node.outputs[0].name or "" for node in _around(running) if work.target.accepts(node, floats)]
            chosen |= {name: floats for name in names if name not in known}
        if not chosen:
            return Applied(held, 0, "no sum that integers fail")
        encodings = work.encodings(precisions={**known, **chosen})
        if not held.encodings.corrections:
            encodings = encodings.model_copy(update={"corrections": {}})
        return Applied(Held(encodings), len(chosen), f"nodes computed in {floats}")


def _largest(work: Work) -> float | None:
    """Return how far numbers may go in the target's float scheme; None where it has none that matters here."""
    own, floats = work.target.scheme(work.scheme), work.target.float_scheme
    if own.is_weight_only:
        floats = work.target.computed_in(work.scheme)
    if floats is None or not (own.is_weight_only or own.activation in SIXTEEN_BITS):
        return None
    reach = RANGE.get(work.target.scheme(floats).activation)
    return None if reach is None else reach / ROOM


def _around(running: RunningSum) -> list[Node]:
    """List the additions, the normalizations that make terms, and those that read a sum; single terms are no matter."""
    behind = [norm for norm in running.norms if (read := input_at(norm, 0)) and read.producer() in running.sums]
    return [*running.sums, *behind, *running.normalized_terms]


def _held(running: RunningSum, encodings: Encodings) -> list[Value]:
    """List the tensors of a sum that nodes make and integers hold."""
    return [value for value in running.values if value.producer() is not None and value.name in encodings.tensors]


def _channels(value: Value) -> tuple[np.ndarray, int]:
    size = (static_shape(value) or (1,))[-1]
    return np.arange(size), size


def _worst(values: list[Value], encodings: Encodings, seen: Mapping[Value, Spread]) -> float:
    """Return the least ratio, in dB, of the median channel's power to that of the rounding."""
    ratios = [
        12 * float(np.median(seen[value].power)) / encodings.tensors[value.name or ""].scale[0] ** 2 for value in values
    ]
    return 10 * log2(max(min(ratios), 1e-12)) / log2(10)


def _reach(values: list[Value], seen: Mapping[Value, Spread]) -> float:
    return max(float(max(seen[value].high.max(), -seen[value].low.min())) for value in values)
