"""What integers of 8 bits cost at each node where floats are the only other choice, for the search to choose by.

For chips that compute in 8 bits or in floats of 16, and have no integers between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import is_constant
from npuopt.partition import estimate, partition
from npuopt.partition.macs import macs
from npuopt.quantization.accuracy.probe import CARRYING
from npuopt.quantization.accuracy.search import Choice, Option
from npuopt.quantization.accuracy.sensitivity import layer_errors
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.road.mixing import FEW, IN_THE_WAY, MACS_PER_BYTE, OWN_SAMPLES, elements, readers, source, unquantized

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from npuopt.graph import Model, Node
    from npuopt.quantization.accuracy.search import Assignment
    from npuopt.quantization.steps import Held, Work
    from npuopt.road.mixing import Arrays, Build
    from npuopt.road.options import Say
    from npuopt.target import Target

SEEN_SAMPLES = 4
"""Samples on which each layer's effect on the outputs is looked at: the model runs once for each and each layer."""

INTEGER_BITS, FLOAT_BITS = 8, 16
"""Of what the two schemes hold: floats take twice the memory, and twice as long to multiply."""

CONVERTED_BYTES = 3
"""That are moved to convert one number: a float is read and an integer written, or the other way round."""


def float_scheme(target: Target) -> str | None:
    """Return the target's first scheme of float activations and weights, None where it has none."""
    schemes = target.schemes.items()
    return next((name for name, one in schemes if one.is_float and not one.is_weight_only and not one.is_float8), None)


class FloatMixing:
    """The choices of a search between the model's integer scheme and a float one.

    Attributes:
        choices: the layers that round; those that the target does not take in floats have no other option.
    """

    def __init__(self, work: Work, build: Build, samples: Sequence[Arrays], say: Say) -> None:
        self._work = work
        self._wide = float_scheme(work.target) or ""
        wishes = wishes_of(work.model, work.target, work.scheme, work.precisions)
        self._own = {_name(node): node for node, wish in wishes.items() if wish.scheme_name == work.scheme}
        self._nodes = {name: node for name, node in self._own.items() if work.target.accepts(node, self._wide)}
        say(f"measuring {work.scheme} layer by layer")
        held, _ = build(work.precisions, None if work.samples is None else work.samples.first(FEW))
        before = unquantized(work.model, held)
        found = layer_errors(
            before.model,
            before.encodings,
            before.insert,
            samples[:OWN_SAMPLES],
            effects_on=samples[:: -(-len(samples) // SEEN_SAMPLES)],
        )
        self._noise = {error.name: error.at_outputs for error in found}
        self._times = _node_times(work, (work.scheme, self._wide))
        self.choices = [self._choice(name, node) for name, node in self._own.items() if node.op_type not in CARRYING]

    def quantized(self, held: Held) -> Model:
        """Return the quantized model."""
        return unquantized(self._work.model, held).quantized()

    def precisions(self, assignment: Assignment) -> dict[str, str]:
        """Name the nodes that are float, those that only move data with what makes it."""
        floats = {name for name, scheme in assignment.schemes.items() if scheme == self._wide}
        for name, node in self._nodes.items():
            if node.op_type in CARRYING and self._carries_floats(node, floats):
                floats.add(name)
        return dict.fromkeys(self._together([name for name in self._nodes if name in floats]), self._wide)

    def counts(self, precisions: Mapping[str, str]) -> dict[str, int]:
        """Count the nodes of each scheme."""
        wide = sum(precisions.get(name) == self._wide for name in self._nodes)
        counts = {self._work.scheme: len(self._own) - wide, self._wide: wide}
        return {scheme: count for scheme, count in counts.items() if count}

    def in_the_way(self, assignment: Assignment, outputs: Sequence[str]) -> tuple[str, str]:
        """Say what was tried, and which layers the target does not take in floats, or else what was given."""
        del assignment, outputs
        names = ", ".join([name for name in self._own if name not in self._nodes][:IN_THE_WAY])
        left = f"in the way: {names}, which {self._work.target.name} does not take in {self._wide}"
        hint = left if names else "leave out --keep and --precisions, or ask for less"
        return f"with all that it can in {self._wide}, it has", hint

    def _choice(self, name: str, node: Node) -> Choice:
        noise = dict(self._noise.get(name, {}))
        for value in node.inputs:
            begins = None if value is None else source(value)
            if begins is not None and begins.producer() is None and next(iter(readers(begins)), "") == name:
                for output, one in self._noise.get(begins.name or "", {}).items():
                    noise[output] = noise.get(output, 0.0) + one
        held = [value for value in node.inputs if value is not None and is_constant(value)]
        moved = [value for value in (*node.inputs, *node.outputs) if value is not None and not is_constant(value)]
        weights = float(sum(elements(value) for value in held))
        wider = FLOAT_BITS / INTEGER_BITS
        if self._times:
            narrow, wide = (self._times[scheme].get(name, 0.0) for scheme in (self._work.scheme, self._wide))
        else:
            narrow = sum(elements(value) for value in moved) + weights + macs(node) / MACS_PER_BYTE
            wide = narrow * wider
        options = [Option(self._work.scheme, INTEGER_BITS, noise, narrow, weights)]
        if name in self._nodes:
            options.append(Option(self._wide, FLOAT_BITS, {}, wide, weights * wider))
        made = node.outputs[0]
        converting = float(CONVERTED_BYTES * elements(made))
        return Choice(name, tuple(options), tuple(dict.fromkeys(readers(made))), noise, converting)

    def _carries_floats(self, node: Node, floats: Collection[str]) -> bool:
        begins = None if node.inputs[0] is None else source(node.inputs[0])
        maker = None if begins is None else begins.producer()
        if maker is not None:
            return _name(maker) in floats
        return any(reader in floats for reader in readers(node.outputs[0]))

    def _together(self, floats: Sequence[str]) -> list[str]:
        """Return the nodes without those that neither get floats nor hand any on: conversions would surround them.

        RKNN-Toolkit2 refuses such convolutions (`Invalid w_par['dtype']`).
        """
        left = list(floats)
        while True:
            integer = self._own.keys() - set(left)
            kept = [name for name in left if _touches_floats(self._nodes[name], integer)]
            if len(kept) == len(left):
                return kept
            left = kept


def _node_times(work: Work, schemes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Estimate what each node takes in each scheme, by what it makes, in bytes that DRAM moves meanwhile.

    What is merged with another node, and what the host computes, takes nothing. Empty where the target does not say
    how fast it is.
    """
    speed = work.target.performance.dram_gb_per_s
    names = {node.name or _name(node): _name(node) for node in work.model.graph}
    found: dict[str, dict[str, float]] = {}
    for scheme in schemes:
        regions = partition(work.model, work.target, scheme, min_nodes=1, min_macs=0).regions
        costs = [cost for region in regions if (cost := estimate(region, work.target, scheme)) is not None]
        if speed is None or not regions or len(costs) < len(regions):
            return {}
        found[scheme] = {names[node.name]: node.seconds * speed * 1e9 for cost in costs for node in cost.nodes}
    return found


def _touches_floats(node: Node, integer: Collection[str]) -> bool:
    """Say whether a node reads a float of the graph's own, or of or for a node that is none of the integer ones."""
    for value in node.inputs:
        if value is not None and not is_constant(value):
            maker = value.producer()
            if maker is None or _name(maker) not in integer:
                return True
    return any(
        made.is_graph_output() or any(_name(use.node) not in integer for use in made.uses()) for made in node.outputs
    )


def _name(node: Node) -> str:
    return node.outputs[0].name or ""
