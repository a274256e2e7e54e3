"""Legalization: each node that the target refuses is taken apart by the cheapest lowerings that end in legal nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from npuopt.errors import InternalError
from npuopt.graph import Editor, label, qualified_op_type
from npuopt.pipeline.contract import Changed, Declined
from npuopt.pipeline.scratch import one_node_model, signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.graph import Model, Node, Value
    from npuopt.graph.editor import AttributeLike
    from npuopt.pipeline.contract import Lowering
    from npuopt.pipeline.scratch import Scratch
    from npuopt.target import Target

MAX_DEPTH = 8
"""Lowerings in a row: a fused op to parts and a part to arithmetic is three; halving a large kernel takes several."""


@dataclass(frozen=True)
class Legalized:
    """What became of one refused node.

    Attributes:
        node: its label.
        op_type: its type.
        reasons: why the target refused it.
        lowered_by: lowerings applied, outermost first; empty when it stays.
        tried: lowerings that were tried in vain, with the reason.
        stays: how a node that stays is computed: `float` or a scheme on the device, or `host`; empty when lowered.
    """

    node: str
    op_type: str
    reasons: tuple[str, ...]
    lowered_by: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    stays: str = ""


@dataclass
class LegalizationReport:
    """All refused nodes; by name, the lowerings that each new node came by, and which are legal in float alone."""

    entries: list[Legalized] = field(default_factory=list[Legalized])
    origins: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    in_float: set[str] = field(default_factory=set[str])
    refused_before: int = 0
    refused_after: int = 0


@dataclass(frozen=True)
class _Choice:
    lowering: Lowering | None
    cost: int
    tried: tuple[str, ...]


_NOWHERE = _Choice(None, 0, ())


@dataclass
class _Frame:
    """What one search depends on beyond the node's signature; where it does, its result holds for this once.

    Attributes:
        cuts: signatures of nodes further out at which a branch of it was cut.
        reads: somebody looked at the numbers of a large constant.
    """

    cuts: set[tuple[object, ...]] = field(default_factory=set[tuple[object, ...]])
    reads: bool = False

    def note_read(self) -> None:
        self.reads = True


class _RecordingEditor(Editor):
    """An editor that remembers the nodes it emitted."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.emitted: list[Node] = []

    def emit_many(
        self,
        op_type: str,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, AttributeLike] | None = None,
        *,
        before: Node,
        outputs: int,
        name: str = "",
        domain: str = "",
    ) -> tuple[Value, ...]:
        made = super().emit_many(op_type, inputs, attributes, before=before, outputs=outputs, name=name, domain=domain)
        maker = made[0].producer()
        if maker is not None:
            self.emitted.append(maker)
        return made


def legalize(
    model: Model, target: Target, lowerings: Sequence[Lowering], scheme: str | None = None
) -> LegalizationReport:
    """Lower, in place, every node that `target` refuses in `scheme` and that some chain of lowerings makes legal.

    A chain is searched on a model of that one node, so what the target is asked about are real nodes with their
    attributes, ranks, dtypes and constants. Equal nodes share one search, unless it looked at the numbers of a large
    constant. A node that no chain makes legal in `scheme` is computed in the one that the target has beside it, as it
    is or taken apart; else on the host. Nodes inside branches and loop bodies go with what holds them.

    Args:
        model: types and shapes known.
        target: decides what is legal; nothing else does.
        lowerings: tried in this order, after those that the descriptor names for the op.
        scheme: None for the target's float scheme.

    Raises:
        InternalError: when a lowering does to the graph what it did not do to the node alone.
    """
    return _Driver(model, target, lowerings, scheme).run()


class _Driver:
    def __init__(self, model: Model, target: Target, lowerings: Sequence[Lowering], scheme: str | None) -> None:
        self.model = model
        self.target = target
        self.lowerings = lowerings
        self.scheme = scheme
        self.edit = _RecordingEditor(model)
        self.report = LegalizationReport()
        self.known: dict[tuple[object, ...], _Choice] = {}
        self.path: list[tuple[object, ...]] = []
        self.frames: list[_Frame] = [_Frame()]

    def run(self) -> LegalizationReport:
        nodes = list(self.model.graph)
        refused = {node for node in nodes if not self._runs_on_device(node)}
        lowered = [node for node in nodes if self._legalize(node)]
        mended = sum(node in refused for node in lowered)
        before, after = len(refused), sum(not self._runs_on_device(node) for node in self.model.graph)
        self.report.refused_before, self.report.refused_after = before, after
        if after != before - mended:
            raise InternalError(
                f"{mended} of {before} refused nodes were lowered, and {after} are refused now",
                hint="a lowering behaves differently on a node alone and in its graph",
            )
        return self.report

    def _legalize(self, node: Node) -> bool:
        """Lower the node if it is refused; return whether that was done."""
        verdict = self.target.accepts(node, self.scheme)
        if verdict:
            return False
        entry_label, op_type = label(node), node.op_type
        choice = self._best(node, self.scheme, MAX_DEPTH)
        scheme = self.scheme
        beside = self.target.beside(self.scheme)
        if choice.lowering is None and beside is not None:
            if self.target.accepts(node, beside):
                stays = "float" if beside == self.target.float_scheme else beside
                self._record(entry_label, op_type, verdict.reasons, (), choice.tried, stays)
                return False
            choice, scheme = self._best(node, beside, MAX_DEPTH), beside
        if choice.lowering is None:
            self._record(entry_label, op_type, verdict.reasons, (), choice.tried, "host")
            return False
        applied = self._apply(node, choice, scheme)
        self._record(entry_label, op_type, verdict.reasons, tuple(dict.fromkeys(applied)), choice.tried, "")
        return True

    def _record(
        self,
        node: str,
        op_type: str,
        reasons: tuple[str, ...],
        lowered_by: tuple[str, ...],
        tried: tuple[str, ...],
        stays: str,
    ) -> None:
        self.report.entries.append(Legalized(node, op_type, reasons, lowered_by, tried, stays))

    def _apply(self, node: Node, choice: _Choice, scheme: str | None, so_far: tuple[str, ...] = ()) -> list[str]:
        """Apply the chosen lowering to the real node, and then to what it made, as far as that is refused."""
        if choice.lowering is None:
            return []
        chain = (*so_far, choice.lowering.name)
        start = len(self.edit.emitted)
        outcome = choice.lowering.lower(node, self.edit)
        if not isinstance(outcome, Changed):
            raise InternalError(f"{choice.lowering.name} lowered a copy of {label(node)} but not the node itself")
        made = self.edit.emitted[start:]
        names = [choice.lowering.name]
        for new in made:
            if new.graph is None:
                continue
            self.report.origins[new.name or ""] = chain
            self.report.in_float.update([new.name or ""] if scheme != self.scheme else ())
            if not self.target.accepts(new, scheme):
                names += self._apply(new, self._best(new, scheme, MAX_DEPTH - len(chain)), scheme, chain)
        return names

    def _best(self, node: Node, scheme: str | None, depth: int) -> _Choice:
        """Find the lowering that leads to the fewest nodes, all legal."""
        here = (scheme, *signature(node))
        if here in self.path:  # a chain that comes back to where it was leads nowhere
            self.frames[-1].cuts.add(here)
            return _NOWHERE
        if (depth, *here) in self.known:
            return self.known[(depth, *here)]
        self.path.append(here)
        self.frames.append(_Frame())
        choice = self._search(node, scheme, depth)
        self.path.pop()
        frame = self.frames.pop()
        frame.cuts.discard(here)
        self.frames[-1].cuts |= frame.cuts
        self.frames[-1].reads |= frame.reads
        if not frame.cuts and not frame.reads:
            self.known[(depth, *here)] = choice
        return choice

    def _search(self, node: Node, scheme: str | None, depth: int) -> _Choice:
        best = _NOWHERE
        tried: list[str] = []
        candidates = self._candidates(node) if depth else []
        reasons = self.target.accepts(node, scheme).reasons if candidates else ()
        scratch: Scratch | None = None
        for lowering in candidates:
            if scratch is None or not scratch.is_untouched():
                scratch = one_node_model(node, self.model, self.frames[-1].note_read)
            outcome = lowering.lower(scratch.node, Editor(scratch.model))
            if not isinstance(outcome, Changed):  # as most: the copy serves the next one too
                tried.append(f"{lowering.name}: {_why_not(outcome)}")
                continue
            cost, why = self._cost(lowering, node, scratch, reasons, scheme, depth)
            scratch = None
            if cost is None:
                tried.append(f"{lowering.name}: {why}")
            elif best.lowering is None or cost < best.cost:
                best = _Choice(lowering, cost, ())
        return _Choice(best.lowering, best.cost, tuple(dict.fromkeys(tried)))  # forms of one lowering may fail alike

    def _candidates(self, node: Node) -> list[Lowering]:
        name = qualified_op_type(node)
        rule = self.target.rule(node.op_type, node.domain)
        preferred = rule.lower if rule is not None else ()
        fitting = [form for lowering in self.lowerings if name in lowering.op_types for form in lowering.forms()]
        return sorted(
            fitting, key=lambda item: preferred.index(item.name) if item.name in preferred else len(preferred)
        )

    def _cost(
        self,
        lowering: Lowering,
        node: Node,
        lowered: Scratch,
        reasons: tuple[str, ...],
        scheme: str | None,
        depth: int,
    ) -> tuple[int | None, str]:
        """Return the number of legal nodes that the lowered copy of `node` ends in, or None and why there is none."""
        cost = 0
        for new in lowered.new_nodes():
            verdict = self.target.accepts(new, scheme)
            if verdict:
                cost += 1
                continue
            if self._is_stuck(lowering, node, new) and set(verdict.reasons) >= set(reasons):
                return None, f"ends in {new.op_type}, refused as before: {verdict.reasons[0]}"
            further = self._best(new, scheme, depth - 1)
            if further.lowering is None:
                return None, f"ends in {new.op_type}, refused: {verdict.reasons[0]}"
            cost += further.cost
        return cost, ""

    def _is_stuck(self, lowering: Lowering, node: Node, new: Node) -> bool:
        """Say whether the same op, refused for the same reasons, leads nowhere.

        It may where the lowering goes step by step: reasons name one value at fault, and there may be several.
        """
        rule = self.target.rule(node.op_type, node.domain)
        hopeless = rule is None or rule.refused is not None
        return new.op_type == node.op_type and (hopeless or not lowering.repeat)

    def _runs_on_device(self, node: Node) -> bool:
        beside = self.target.beside(self.scheme)
        return any(self.target.accepts(node, scheme) for scheme in (self.scheme, beside or self.scheme))


def _why_not(outcome: Declined | None) -> str:
    return "does not cover this form" if outcome is None else outcome.why
