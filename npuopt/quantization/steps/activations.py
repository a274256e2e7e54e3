"""Steps that decide how activations are held."""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, islice
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from npuopt.quantization.accuracy.held_activations import OutputNoise
from npuopt.quantization.accuracy.local_errors import local_errors
from npuopt.quantization.arithmetic import SIXTEEN_BITS
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.masks import find_masks
from npuopt.quantization.steps.contract import Applied, Held, IntegerStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from npuopt.graph import Node, Value
    from npuopt.quantization.accuracy.local_errors import LocalErrors
    from npuopt.quantization.accuracy.sensitivity import Arrays
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.encodings import Encodings
    from npuopt.quantization.samples.data import Samples
    from npuopt.quantization.steps.contract import Work
    from npuopt.target import Target

OUTPUT_SAMPLES = 16
"""Samples on which the outputs are looked at."""

STRETCH_SAMPLES = 4
"""How many of them say what each stretch costs beside the others."""

LEAST_OUTPUT_DB = 22.0
"""What the outputs must keep where neither the step nor the target's scheme says."""

TWICE_DB = 3.0
"""Of noise of twice the power."""

TENTH_DB = 0.46
"""What an output gains when a tenth of its noise goes."""

STRETCHES = 16
"""Into how many stretches a graph is cut to see what each costs."""


class WidenActivations(IntegerStep):
    """Compute nodes that 8-bit activations leave too noisy, and those that make what they read, with 16-bit ones.

    What counts is what a node makes of its rounded inputs: outliers that cost a sum next to nothing ruin the
    normalization behind it; and its own result as it is rounded, where no such node reads it, but nodes in float
    do. Measured on MiniLM at a8w8, where the sums ahead of normalizations range up to 190: mean
    cosine of embeddings 0.9936 instead of 0.7909 (30 sentences), for 63 of 180 nodes. On tiny_llama's prefill such
    nodes are one of 261 and on EfficientNet-Lite0 none, which lose little without it.

    Errors that are small alone add up along a deep network: beyond the noisy nodes, the noisiest of the others are
    widened until what is left, all nodes' noise together, keeps to a bound. It is no estimate of the output's noise,
    which additions dilute, but tells deep networks from shallow ones. Measured at a8w8: perplexity of tiny_llama grows
    by 0.65 instead of 0.69 %; Fashion-MNIST and EfficientNet-Lite0 stay as they were.

    What counts in the end are the outputs. Where rounding the activations leaves these too noisy on calibration data,
    the graph is cut into stretches, each is measured with 8 bits in it alone, and those that cost most for each of
    their nodes are widened. Measured at a8w8: MiniLM, of 19.8 dB behind the two rules, has a cosine of 0.99707 instead
    of 0.99580 for ten nodes more (81 of 180). The PP-OCR recognizer, of 11.6 dB, reads 90.0 % of 200 lines (float:
    90.5 %) and 97.5 % as in float for 92 of 188 nodes; with 18 dB 90.5 and 94.5 % for 68; 76.0 % for the 36 of the two
    rules alone. tiny_llama (24.4 dB) and image classifiers stay as they were.

    Two sets of kernels round an output on their own, and nothing comes behind that could dilute it. Where the target's
    scheme asks for it, what makes the outputs is widened first, if their own rounding is a tenth of a noise that is too
    much. Measured with LiteRT at a8w8: EfficientNet-Lite0 comes to a cosine of 0.9991 with ONNX Runtime, not 0.9988.

    Attributes:
        least_sqnr_db: what a node must reach with its inputs rounded, to keep 8 bits.
        least_total_db: what the nodes that keep 8 bits must reach together, their noise added up.
        least_output_db: what the output that suffers most must reach, of what rounding the activations does to it; as
            the target's scheme has it, or 22, when None.
        outputs: whether what makes the graph's outputs gets 16 bits too. 256 steps merge what a ranking by
            probabilities tells apart: Silero's area under the curve is 0.9634 in float, 0.9626 with only the float
            probabilities rounded to 8 bits, and at a8w8 0.9628 with this and 0.9621 without.
    """

    name: ClassVar[str] = "widen-activations"
    least_sqnr_db: float = 28.0
    least_total_db: float = 15.0
    least_output_db: float | None = None
    outputs: bool = False

    def apply(self, work: Work, held: Held) -> Applied:
        """Choose the encodings anew with a 16-bit scheme for the noisy nodes."""
        wide = wider_scheme(work.target, work.scheme)
        if wide is None or work.samples is None:
            return Applied(held, 0, "no scheme of the target with 16-bit activations" if wide is None else "no data")
        ranking = _Ranking(work, held.encodings, wide, work.samples, self.least_sqnr_db)
        chosen = ranking.widened(ranking.noisy(self.least_total_db), outputs=self.outputs)
        bounds = (
            least_output_db(work, self.least_output_db),
            work.target.scheme(work.scheme).wide_outputs_below_db or 0.0,
        )
        more = ranking.for_outputs(chosen, list(islice(work.samples, OUTPUT_SAMPLES)), *bounds)
        chosen |= more
        if not chosen:
            return Applied(held, 0, "no node too noisy")
        encodings = ranking.encodings(chosen)
        if not held.encodings.corrections:
            encodings = encodings.model_copy(update={"corrections": {}})
        text = f"of {len(ranking.wishes)} nodes computed in {wide}"
        if more:
            text += f", {len(more)} of them for what they do to the outputs"
        return Applied(Held(encodings), len(chosen), text)


class _Reached(Protocol):
    def __call__(self, widened: Iterable[str], count: int | None = None, /) -> float:
        """Return what the outputs keep in dB with these nodes widened, on the first `count` samples."""
        ...


class _Ranking:
    """The nodes in the order of what rounding their inputs does to them, the noisiest first.

    Attributes:
        wishes: the nodes that are computed in the work's scheme, those that only move numbers among them.
    """

    def __init__(self, work: Work, held: Encodings, wide: str, samples: Samples, least_sqnr_db: float) -> None:
        self._work, self._wide, self._least = work, wide, least_sqnr_db
        self._known = held.precisions
        self.wishes = {
            node: wish
            for node, wish in wishes_of(work.model, work.target, work.scheme, self._known).items()
            if wish.scheme_name == work.scheme
        }
        names = [node.outputs[0].name or "" for node, wish in self.wishes.items() if not wish.moves]
        alone = [node.outputs[0].name or "" for node in self.wishes if _is_read_by_none(node.outputs[0], self.wishes)]
        self._errors = local_errors(work.model, held, names, samples, held=alone, threads=work.threads)
        masked = {value.name for value in find_masks(work.model).scores}
        self._ratios = {
            node: self._errors.nodes[name]
            for node in self.wishes
            if (name := node.outputs[0].name or "") in self._errors.nodes and name not in masked
        }
        self._order = sorted(self._ratios, key=self._ratios.__getitem__)

    def noisy(self, least_total_db: float) -> int:
        """Count the nodes too noisy, and the noisiest others until the noise of the rest keeps to its bound."""
        noise = [min(1.0, 10 ** (-self._ratios[node] / 10)) for node in self._order]
        left = sum(noise)
        for count, node in enumerate(self._order):
            if self._ratios[node] >= self._least and left <= 10 ** (-least_total_db / 10):
                return count
            left -= noise[count]
        return len(self._order)

    def for_outputs(
        self, chosen: Mapping[str, str], samples: Sequence[Arrays], least_db: float, wide_below_db: float
    ) -> dict[str, str]:
        """Return the wide scheme for the other nodes that need it for the outputs to reach `least_db`.

        Where the outputs as they are rounded have less than `wide_below_db`, and their own rounding is a tenth of that
        noise, first those that make them: nothing comes behind that could dilute it.
        """
        noise = OutputNoise(self._work.model, samples, threads=self._work.threads)

        def reached(widened: Iterable[str], count: int | None = None) -> float:
            return noise.sqnr_db(self.encodings({**chosen, **dict.fromkeys(widened, self._wide)}), count)

        others = [
            name
            for node, wish in self.wishes.items()
            if (name := node.outputs[0].name or "") not in {*chosen, *self._known} and not wish.moves
            if self._work.target.accepts(node, self._wide)
        ]
        measured = reached(())
        last: list[str] = []
        bound = min(wide_below_db, measured - TENTH_DB)
        if bound > 0 and noise.sqnr_db(self.encodings(chosen), outputs=True) < bound:
            making = {maker.outputs[0].name for maker in self._makers_of_outputs()}
            last = [name for name in others if name in making]
            others = [name for name in others if name not in making]
            chosen = {**chosen, **dict.fromkeys(last, self._wide)}
        needed = _costly_stretches(others, least_db, reached) if measured < least_db and others else []
        return dict.fromkeys((*last, *needed), self._wide)

    def widened(self, count: int, *, outputs: bool = False) -> dict[str, str]:
        """Return the wide scheme for the first `count` nodes, what makes their inputs, and on request the outputs."""
        noisy = set(self._order[:count])
        least = max((self._ratios[node] for node in noisy), default=self._least)
        least = max(least, self._least)
        if outputs:
            noisy |= self._makers_of_outputs()
        return {
            name: self._wide
            for node in self.wishes
            if node in noisy
            for each in (node, *_makers(node, self.wishes, self._errors, least))
            if (name := each.outputs[0].name or "") not in self._known and self._work.target.accepts(each, self._wide)
        }

    def _makers_of_outputs(self) -> set[Node]:
        made = (_made_by(value, self.wishes) for value in self._work.model.graph.outputs)
        return {maker for maker in made if maker is not None}

    def encodings(self, widened: Mapping[str, str]) -> Encodings:
        """Choose encodings anew with these nodes in other schemes."""
        return self._work.encodings(precisions={**self._known, **widened})


def _costly_stretches(others: Sequence[str], least_db: float, reached: _Reached) -> list[str]:
    """Return what must be widened of `others` for the outputs to reach `least_db`.

    Stretches of the graph are widened as a whole, which saves conversions: first those that cost the outputs most for
    each of their nodes when only they have 8 bits. Where all nodes together do not reach `least_db`, noise of twice
    the power that is left then is enough.
    """
    least_db = min(least_db, reached(others) - TWICE_DB)
    stretches = [part.tolist() for part in np.array_split(others, min(STRETCHES, len(others)))]
    beside = [reached(set(others) - set(part), STRETCH_SAMPLES) for part in stretches]
    costs = [10 ** (-ratio / 10) / len(part) for ratio, part in zip(beside, stretches, strict=True)]
    ordered = [stretches[at] for at in np.argsort(costs)[::-1]]
    counts = range(len(ordered))
    needed = bisect_left(counts, x=True, key=lambda count: reached(chain(*ordered[:count])) >= least_db)
    return list(chain(*ordered[:needed]))


def least_output_db(work: Work, asked: float | None) -> float:
    """Return what the outputs must keep: what a step was asked for, what the scheme says, or the default."""
    said = (asked, work.target.scheme(work.scheme).least_output_db)
    return next((least for least in said if least is not None), LEAST_OUTPUT_DB)


def wider_scheme(target: Target, scheme: str) -> str | None:
    """Return the target's scheme with 16-bit activations and the same weights, or None where it has none."""
    own = target.scheme(scheme)
    if own.activation in SIXTEEN_BITS:
        return None
    for name, other in target.schemes.items():
        if other.activation in SIXTEEN_BITS and (other.weight, other.weight_axis) == (own.weight, own.weight_axis):
            return name
    return None


def _is_read_by_none(value: Value, wishes: Mapping[Node, Wishes]) -> bool:
    """Say whether other nodes read a result, and none of these, so that nothing else shows what rounding does to it."""
    readers = [use.node for use in value.uses()]
    if not readers or value.is_graph_output():
        return False
    movers = [node for node in readers if node in wishes and wishes[node].moves]
    if any(node in wishes for node in readers if node not in movers):
        return False
    return all(_is_read_by_none(made, wishes) for node in movers for made in node.outputs)


def _makers(node: Node, wishes: Mapping[Node, Wishes], errors: LocalErrors, least: float) -> list[Node]:
    """List the nodes that make what 8 bits hold badly of what `node` reads; all that it reads, where none stands out.

    One outlier makes much of a tensor's signal, and so hides what becomes of the rest.
    """
    read = {value: errors.tensors[value.name or ""] for value in node.inputs if value and value.name in errors.tensors}
    bad = [value for value, sqnr_db in read.items() if sqnr_db < least] or list(read)
    return [maker for value in bad if (maker := _made_by(value, wishes)) is not None]


def _made_by(value: Value, wishes: Mapping[Node, Wishes]) -> Node | None:
    maker = value.producer()
    while maker is not None and maker in wishes and wishes[maker].moves:
        source = maker.inputs[0]
        maker = None if source is None else source.producer()
    return maker if maker in wishes else None
