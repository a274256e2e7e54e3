"""Steps that write what 8 bits, or one scale for rows of all sizes, hold badly in other forms."""

from __future__ import annotations

from itertools import islice
from math import inf, log10, sqrt
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from npuopt.graph import integers, is_op, rank
from npuopt.quantization.accuracy.held_activations import OutputNoise
from npuopt.quantization.arithmetic import SIXTEEN_BITS, affine
from npuopt.quantization.calibration.taps import TAP_BYTES, portions, tapped_session
from npuopt.quantization.channels.operand_statistics import spreads
from npuopt.quantization.encodings import Encodings, per_tensor
from npuopt.quantization.normalizations import match_normalization
from npuopt.quantization.steps.activations import (
    OUTPUT_SAMPLES,
    TWICE_DB,
    least_output_db,
    wider_scheme,
)
from npuopt.quantization.steps.contract import FloatStep, Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from npuopt.graph import Match, Value
    from npuopt.quantization.arithmetic import IntegerType
    from npuopt.quantization.channels.operand_statistics import Spread
    from npuopt.quantization.samples.data import Samples
    from npuopt.quantization.steps.contract import Work
    from npuopt.target import Target

WHOLE = np.zeros((1, 1), np.int64)
"""All elements of a tensor as one channel."""
SIXTEEN_BIT_STEPS = 2**15 - 1
"""From zero to the largest number of a tensor."""
EIGHT_BIT_STEPS = 2**8 - 1
SMALL_ROWS = 0.01
"""Share of the rows that may be smaller than asked for, as padding is."""
OFFSET = 1 / 256
"""Of the largest number: the first straight line of a table with 512 from minus this to this."""
ARITHMETIC = ("Abs", "Add", "Mul", "Pow", "ReduceMax", "ReduceMean")
GATE = ("Add", "Clip", "Mul", "Sigmoid")


class ScaleNormalizedRows(FloatStep):
    """Divide rows by about their largest number ahead of squaring, where 16 bits hold squares of small rows badly.

    A normalization that is written as a mean of squares and a power of minus a half has one scale for the squares of
    all rows: small rows vanish beside large ones, and tables that chips have for the power are coarse near zero. The
    result does not depend on what rows are divided by, so that this may be coarse. Measured on MiniLM at a16w8 on
    Ethos-U85: 32 dB from float instead of 11, together with `lower-gelu-to-sigmoid`.

    Attributes:
        least_steps: how many steps of 16 bits the mean square of a row must have for the normalization to be left
            alone.
    """

    name: ClassVar[str] = "scale-normalized-rows"
    least_steps: float = 64.0

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Choose the normalizations whose rows differ too much."""
        wide = _sixteen_bits(work.target, work.scheme)
        if work.samples is None or wide is None or not _takes(work.target, ARITHMETIC, wide):
            return
        found = {node: match_normalization(node) for node in work.model.graph}
        squares = {
            node.outputs[0].name or "": cast("Value", each.nodes["mean"].inputs[0])
            for node, each in found.items()
            if each is not None and _is_last(each)
        }
        seen = _row_sizes(work, list(dict.fromkeys(squares.values())), work.samples)
        offsets = {
            name: sqrt(seen[square][1]) * OFFSET
            for name, square in squares.items()
            if seen[square][1] > 0 and seen[square][0] < self.least_steps * seen[square][1] / SIXTEEN_BIT_STEPS
        }
        if offsets:
            yield Rewrite(pass_name="insert-row-scales", options={"offsets": offsets})  # noqa: S106 -- no password


class LowerGeluToSigmoid(FloatStep):
    """Write Gelu as products and a Sigmoid where the chip has only 8 bits for it, and 16 for those.

    `x * Sigmoid(x * (a + b * Min(x * x, 16)))` is within 2.8e-4 of it: a step of 16 bits where numbers go up to 9. A
    scheme with 16-bit activations gets it for every Gelu, one with 8 where these are too few.

    Attributes:
        least_sqnr_db: what rounding to 8 bits must leave of a Gelu's result for it to be left alone in such a scheme.
    """

    name: ClassVar[str] = "lower-gelu-to-sigmoid"
    least_sqnr_db: float = 28.0

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Choose the Gelus that 8 bits leave too noisy."""
        wide = _sixteen_bits(work.target, work.scheme)
        if work.samples is None or wide is None or not _takes(work.target, GATE, wide):
            return
        made = _in_eight_bits(work, "Gelu", wide)
        if made and wide != work.scheme:
            seen = _spreads(work, made, work.samples)
            made = [value for value in made if _sqnr_db(seen[value]) < self.least_sqnr_db]
        if made:
            names = [value.name or "" for value in made]
            yield Rewrite(pass_name="lower-gelu-to-sigmoid", options={"names": names})  # noqa: S106 -- no password


class LowerHardSwishToClip(FloatStep):
    """Write HardSwish as `x * (Clip(x + 3, 0, 6) * 1/6)` where the chip has only 8 bits for it, and 16 for those.

    Where rounding the results of HardSwish to 8 bits alone makes half of the noise that the outputs may have, 16 bits
    for other nodes help little. Then all are written so, and `widen-activations` says which of the new nodes get 16
    bits. To choose among them was tried on the PP-OCR detector (Ethos-U85-512): with 6 or 17 of the 24 written so it
    came to a cosine of 0.9978 and 0.9992 in LiteRT for 21.3 and 28.2 million cycles, with all to 0.9981 for 21.9; and
    where 26 dB were asked for to 0.9989 (6) for 29.0 and 0.9998 (all) for 28.7. In a scheme of 16 bits legalization
    writes all.

    Attributes:
        least_output_db: what the outputs must keep, as `widen-activations` has it: as the target's scheme says, or 22,
            when None.
    """

    name: ClassVar[str] = "lower-hard-swish-to-clip"
    least_output_db: float | None = None

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Choose all HardSwishes where 8 bits leave the outputs too noisy."""
        wide = wider_scheme(work.target, work.scheme)
        if work.samples is None or wide is None or not _takes(work.target, ("Add", "Clip", "Mul"), wide):
            return
        made = _in_eight_bits(work, "HardSwish", wide)
        least_db = least_output_db(work, self.least_output_db) + TWICE_DB
        if made and _rounded_db(work, made, work.samples) < least_db:
            names = [value.name or "" for value in made]
            yield Rewrite(pass_name="lower-hard-swish-to-clip", options={"names": names})  # noqa: S106 -- no password


def _sixteen_bits(target: Target, scheme: str) -> str | None:
    """Return the scheme itself where it has 16-bit activations, else the one that its nodes may be widened to."""
    own = target.scheme(scheme)
    if not own.is_integer:
        return None
    return scheme if own.activation in SIXTEEN_BITS else wider_scheme(target, scheme)


def _takes(target: Target, op_types: Sequence[str], scheme: str) -> bool:
    """Say whether the target has a rule for each op in a scheme."""
    rules = [target.rule(op_type) for op_type in op_types]
    return all(rule is not None and scheme in rule.schemes for rule in rules)


def _in_eight_bits(work: Work, op_type: str, wide: str) -> list[Value]:
    """List what the nodes of an op make that the target takes in integers, but not in the scheme of 16 bits."""
    rule = work.target.rule(op_type)
    if rule is None or wide in rule.schemes or not any(work.target.scheme(one).is_integer for one in rule.schemes):
        return []
    return [node.outputs[0] for node in work.model.graph if is_op(node, op_type)]


def _spreads(work: Work, made: Sequence[Value], samples: Samples) -> dict[Value, Spread]:
    """Run the samples and return the range and power of each tensor as a whole."""
    producer = made[0].producer()
    progress = work.progress(f"looking at {'' if producer is None else producer.op_type}")
    return spreads(work.model, dict.fromkeys(made, (WHOLE, 1)), samples, progress=progress, threads=work.threads)


def _rounded_db(work: Work, made: Sequence[Value], samples: Samples) -> float:
    """Return what the outputs keep in dB when these tensors alone are rounded, from their least to largest number."""
    scheme = work.target.scheme(work.scheme)
    dtype = cast("IntegerType", scheme.activation)
    held = {
        value.name or "": per_tensor(
            dtype, *affine(float(seen.low[0]), float(seen.high[0]), dtype, symmetric=scheme.activation_symmetric)
        )
        for value, seen in _spreads(work, made, samples).items()
    }
    noise = OutputNoise(work.model, list(islice(samples, OUTPUT_SAMPLES)), threads=work.threads)
    return noise.sqnr_db(Encodings(tensors=held))


def _is_last(normalization: Match) -> bool:
    """Say whether its rows lie along the last axis."""
    rows, axes = normalization.values["rows"], integers(normalization.values["axes"])
    return axes == [-1] or axes == [(rank(rows) or 0) - 1]


def _row_sizes(work: Work, squares: Sequence[Value], samples: Samples) -> dict[Value, tuple[float, float]]:
    """Return of each tensor of squares the mean along the last axis of small rows, and the largest square."""
    means: dict[Value, list[np.ndarray]] = {value: [] for value in squares}
    largest = dict.fromkeys(squares, 0.0)
    cut = portions(squares, TAP_BYTES)
    progress = work.progress("looking at normalized rows")
    total = None if samples.count is None else samples.count * len(cut)
    done = 0
    for portion in cut:
        session = tapped_session(work.model, portion, optimize=True, threads=work.threads)
        for sample in samples:
            arrays = session.run(sample)
            for value in portion:
                array = arrays[value.name or ""]
                means[value].append(array.mean(axis=-1).ravel())
                largest[value] = max(largest[value], float(array.max()))
            done += 1
            progress(done, total)
    return {value: (float(np.quantile(np.concatenate(means[value]), SMALL_ROWS)), largest[value]) for value in squares}


def _sqnr_db(spread: Spread) -> float:
    """Return how far a tensor is above the noise of rounding it to 8 bits."""
    noise = (float(spread.high[0] - spread.low[0]) / EIGHT_BIT_STEPS) ** 2 / 12
    signal = float(spread.power[0])
    return 10 * log10(signal / noise) if signal > 0 and noise > 0 else inf
