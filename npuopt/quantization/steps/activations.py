"""Steps that decide how activations are held."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from npuopt.quantization.accuracy.local_errors import local_errors
from npuopt.quantization.arithmetic import SIXTEEN_BITS
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.masks import find_masks
from npuopt.quantization.steps.contract import Applied, Held, IntegerStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Node, Value
    from npuopt.quantization.accuracy.local_errors import LocalErrors
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.steps.contract import Work
    from npuopt.target import Target


class WidenActivations(IntegerStep):
    """Compute nodes that 8-bit activations leave too noisy, and those that make what they read, with 16-bit ones.

    What counts is what a node makes of its rounded inputs: outliers that cost a sum next to nothing ruin the
    normalization behind it; and its own result as it is rounded, where no such node reads it, but nodes in float
    do. Measured on MiniLM at a8w8, where the sums ahead of normalizations range up to 190: mean
    cosine of embeddings 0.9936 instead of 0.7909 (30 sentences), for 63 of 180 nodes. On tiny_llama's prefill such
    nodes are one of 261 and on EfficientNet-Lite0 none, which lose little without it.

    Errors that are small alone add up along a deep network: beyond the noisy nodes, the noisiest of the others are
    widened until what is left, all nodes' noise together, keeps to a bound. It is no estimate of the output's noise,
    which additions dilute, but tells deep networks from shallow ones. Measured at a8w8: the PP-OCR recognizer reads
    76.0 instead of 67.0 % of 200 lines (float: 90.5 %), for 36 of 188 nodes, and 92.0 % with a bound of 20 dB, for 91;
    perplexity of tiny_llama grows by 0.65 instead of 0.69 %; Fashion-MNIST and EfficientNet-Lite0 stay as they were.

    Attributes:
        least_sqnr_db: what a node must reach with its inputs rounded, to keep 8 bits.
        least_total_db: what the nodes that keep 8 bits must reach together, their noise added up.
        outputs: whether what makes the graph's outputs gets 16 bits too. 256 steps merge what a ranking by
            probabilities tells apart: Silero's area under the curve is 0.9634 in float, 0.9626 with only the float
            probabilities rounded to 8 bits, and at a8w8 0.9628 with this and 0.9621 without.
    """

    name: ClassVar[str] = "widen-activations"
    least_sqnr_db: float = 28.0
    least_total_db: float = 15.0
    outputs: bool = False

    def apply(self, work: Work, held: Held) -> Applied:
        """Choose the encodings anew with a 16-bit scheme for the noisy nodes."""
        wide = wider_scheme(work.target, work.scheme)
        if wide is None or work.samples is None:
            return Applied(held, 0, "no scheme of the target with 16-bit activations" if wide is None else "no data")
        known = held.encodings.precisions
        wishes = {
            node: wish
            for node, wish in wishes_of(work.model, work.target, work.scheme, known).items()
            if wish.scheme_name == work.scheme
        }
        names = [node.outputs[0].name or "" for node, wish in wishes.items() if not wish.moves]
        alone = [node.outputs[0].name or "" for node in wishes if _is_read_by_none(node.outputs[0], wishes)]
        errors = local_errors(work.model, held.encodings, names, work.samples, held=alone, threads=work.threads)
        masked = {value.name for value in find_masks(work.model).scores}
        ratios = {
            node: errors.nodes[name]
            for node in wishes
            if (name := node.outputs[0].name or "") in errors.nodes and name not in masked
        }
        noisy = _noisiest(ratios, self.least_sqnr_db, self.least_total_db)
        least = max((ratios[node] for node in noisy), default=self.least_sqnr_db)
        least = max(least, self.least_sqnr_db)
        if self.outputs:
            noisy |= {maker for value in work.model.graph.outputs if (maker := _made_by(value, wishes)) is not None}
        chosen = dict.fromkeys(
            each.outputs[0].name or ""
            for node in wishes
            if node in noisy
            for each in (node, *_makers(node, wishes, errors, least))
            if work.target.accepts(each, wide)
        )
        chosen = {name: wide for name in chosen if name not in known}
        if not chosen:
            return Applied(held, 0, "no node too noisy")
        encodings = work.encodings(precisions={**known, **chosen})
        if not held.encodings.corrections:
            encodings = encodings.model_copy(update={"corrections": {}})
        return Applied(Held(encodings), len(chosen), f"of {len(wishes)} nodes computed in {wide}")


def wider_scheme(target: Target, scheme: str) -> str | None:
    """Return the target's scheme with 16-bit activations and the same weights, or None where it has none."""
    own = target.scheme(scheme)
    if own.activation in SIXTEEN_BITS:
        return None
    for name, other in target.schemes.items():
        if other.activation in SIXTEEN_BITS and (other.weight, other.weight_axis) == (own.weight, own.weight_axis):
            return name
    return None


def _noisiest(ratios: Mapping[Node, float], least_db: float, least_total_db: float) -> set[Node]:
    """Return the nodes below `least_db`, and the noisiest others until the noise of the rest keeps to its bound."""
    noise = {node: min(1.0, 10 ** (-ratio / 10)) for node, ratio in ratios.items()}
    left = sum(noise.values())
    found: set[Node] = set()
    for node in sorted(ratios, key=ratios.__getitem__):
        if ratios[node] >= least_db and left <= 10 ** (-least_total_db / 10):
            break
        left -= noise[node]
        found.add(node)
    return found


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
