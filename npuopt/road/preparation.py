"""The part of the road that every command shares: from a loaded model to the graph that a target takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from npuopt.errors import InputError, UsageError
from npuopt.graph import dims, label, unknown_ops
from npuopt.graph.dynamic_shapes import first_blocking
from npuopt.pipeline.catalogue import catalogue, group_of, load_pass_file, with_options
from npuopt.pipeline.contract import Lowering, Pass
from npuopt.pipeline.recipe import Choice
from npuopt.pipeline.recipes import CLEAN, FREEZE, FUSE, LAYOUT, LEGALIZED, MOVE, RAISED, TRANSPOSES_KEPT
from npuopt.pipeline.report import Entry, Report
from npuopt.pipeline.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from npuopt.graph import Model
    from npuopt.pipeline.legalize import LegalizationReport
    from npuopt.road.options import Say
    from npuopt.target import Target

AS_THEY_ARE = Choice()
"""Every pass of the standard order with its default options."""


@dataclass
class Prepared:
    """A model on its way, and what happened to it so far.

    Attributes:
        model: the working graph, changed in place.
        runner: has run every pass so far; holds their reports.
        legalization: what the target refused and which lowerings mended it.
        dropped_inputs: inputs that the freeze made empty, name -> frozen shape.
        assumed_dims: what was frozen without being asked for: a batch of one.
    """

    model: Model
    runner: Runner
    legalization: LegalizationReport | None = None
    dropped_inputs: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    assumed_dims: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def in_float(self) -> frozenset[str]:
        """Names of the nodes that lowerings made of what the target computes in float alone."""
        return frozenset() if self.legalization is None else frozenset(self.legalization.in_float)


@dataclass(frozen=True)
class Legalize(Pass):
    """Nodes that the target refuses are taken apart into nodes that it takes.

    The driver of npuopt.pipeline.legalize as a pass, so that it is checked, dumped and compared like any other.

    Attributes:
        lowerings: what there is to take nodes apart with.
        scheme: what the target is to compute in.
        results: gets the driver's report of each run.
    """

    name: ClassVar[str] = "legalize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})

    lowerings: tuple[Lowering, ...]
    scheme: str | None
    results: list[LegalizationReport] = field(default_factory=list["LegalizationReport"], compare=False)

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Lower what `target` refuses; without a target, nothing."""
        report = Report(self.name)
        if target is not None:
            from npuopt.pipeline.legalize import legalize  # noqa: PLC0415 -- imports pydantic, as targets do

            found = legalize(model, target, self.lowerings, self.scheme)
            self.results.append(found)
            for entry in found.entries:
                if entry.lowered_by:
                    report.changed.append(Entry(entry.node, entry.op_type, f"by {', then '.join(entry.lowered_by)}"))
                else:
                    text = f"stays in {entry.stays}: {'; '.join((*entry.reasons, *entry.tried))}"
                    report.declined.append(Entry(entry.node, entry.op_type, text))
        return report


def prepare(
    model: Model,
    runner: Runner,
    frozen: Mapping[str, int],
    *,
    scheme: str | None = None,
    pass_files: Sequence[Path] = (),
    choice: Choice = AS_THEY_ARE,
    say: Say,
) -> Prepared:
    """Clean, freeze and fuse `model` in place; with a target, lower what it refuses. `choice` says with which options.

    Raises:
        InputError: when nobody knows an op, or the target wants static shapes and a tensor stays dynamic.
        UsageError: when a dim does not exist.
    """
    prepared = Prepared(model, runner)
    if runner.target is not None and scheme is not None:
        scheme = runner.target.computed_in(scheme)
    if not pass_files:  # which may be what lowers the unknown
        require_known_ops(model, runner.target)
    if runner.target is not None and runner.target.shapes.static == "required":
        prepared.assumed_dims = _batch_of_one(model, frozen)
        frozen = {**prepared.assumed_dims, **frozen}
    say("cleaning")
    clean = choice.make(TRANSPOSES_KEPT)
    runner.run_until_stable(model, clean)
    if frozen:
        say("freezing dims")
        shapes = {value.name or "": dims(value) for value in model.graph.inputs}
        require_dims(runner.run(model, freezing(frozen, choice)))
        runner.run_until_stable(model, clean)
        prepared.dropped_inputs = _dropped(shapes, model, frozen)
    if runner.target is not None and runner.target.shapes.static == "required":
        require_static(model)
    say("fusing")
    fuse = choice.make(fusions(runner.target, scheme))
    runner.run_until_stable(model, [*fuse, *clean])
    layout = choice.make((*LAYOUT, *MOVE))
    if any(report.changed for report in runner.run(model, layout)):
        runner.run_until_stable(model, [*layout, *fuse, *clean])  # Transposes kept apart what may be fused now
    if any(report.changed for report in runner.run_until_stable(model, choice.make(CLEAN))):
        runner.run_until_stable(model, [*fuse, *choice.make(CLEAN)])
    own = [found for path in pass_files for found in load_pass_file(path).values()]
    if own:
        runner.run_until_stable(model, [*(with_options(found, {}) for found in own), *choice.make(CLEAN)])
        require_known_ops(model, runner.target)
    if runner.target is not None:
        say(f"fitting the graph to {runner.target.name}")
        fit = Legalize(tuple(lowerings(own)), scheme)
        runner.run(model, [fit])
        prepared.legalization = fit.results[-1]
        runner.run_until_stable(model, choice.make((*LEGALIZED, *CLEAN)))
    return prepared


def fusions(target: Target | None, scheme: str | None = None) -> list[str]:
    """Return the fusions of the standard order, without those that raise ops which `target` does not take."""
    if target is None:
        return list(FUSE)
    wanted = scheme or target.float_scheme
    rules = {name: target.rule(op_type) for name, op_type in RAISED.items()}
    refused = {name for name, rule in rules.items() if rule is None or wanted not in rule.schemes}
    return [name for name in FUSE if name not in refused]


def freezing(frozen: Mapping[str, int], choice: Choice = AS_THEY_ARE) -> list[Pass]:
    """Return the passes that freeze these dims."""
    wanted = {**choice.options, "freeze-dims": {"dims": tuple(frozen.items())}}
    return Choice(wanted, choice.without).make(FREEZE)


def require_dims(reports: Iterable[Report]) -> None:
    """Check that every dim that was to be frozen exists.

    Raises:
        UsageError: naming the dim, and those that exist.
    """
    for report in reports:
        for entry in report.declined:
            if entry.op_type == "dim":
                raise UsageError(entry.text)


def lowerings(extra: Iterable[type[Pass]] = ()) -> list[Lowering]:
    """Return every lowering of the catalogue, then those among `extra`."""
    known = [item for item in catalogue().values() if group_of(item) in ("lower", "plug-in")]
    made = (with_options(item, {}) for item in (*known, *extra) if issubclass(item, Lowering))
    return [item for item in made if isinstance(item, Lowering)]


def choose_scheme(target: Target, precision: str, *, calibrated: bool) -> str:
    """Return the scheme to compute in: the one asked for, or the most exact that the data allows.

    With calibration data `auto` takes the integer scheme with the widest activations, then the widest weights, of
    those that need no asking for; without, the float scheme.

    Raises:
        UsageError: when the target lacks the scheme, or it needs calibration data that is not given.
    """
    if precision == "auto":
        if calibrated and (integer := target.integer_scheme) is not None:
            return integer
        if target.float_scheme is not None:
            return target.float_scheme
        raise UsageError(
            f"{target.name} computes in integers only ({', '.join(target.schemes)})", hint="give --calibration data"
        )
    if precision not in target.schemes:
        raise UsageError(f"{target.name} has no scheme {precision!r}", hint=f"it has {', '.join(target.schemes)}")
    if not target.schemes[precision].is_float and not calibrated:
        raise UsageError(f"scheme {precision} needs ranges", hint="give --calibration data or --encodings")
    return precision


def require_known_ops(model: Model, target: Target | None) -> None:
    """Check that each op is known to ONNX, to ONNX Runtime, to the model's own functions, or to the target.

    Raises:
        InputError: naming the op, its domain and its first node.
    """
    strange = [op for op in unknown_ops(model) if target is None or target.rule(op.op_type, op.domain) is None]
    if strange:
        first = strange[0]
        others = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise InputError(
            f"nobody knows op {first.op_type} of domain {first.domain or 'ai.onnx'!r}{others}",
            where=f"node {first.node}",
            hint="export the model without it, or bring a pass that lowers it with --pass-file",
        )


def require_static(model: Model) -> None:
    """Check that every tensor has a static shape.

    Raises:
        InputError: naming the free dims, or the first tensor that stays dynamic and the op that made it so.
    """
    free = {dim for value in model.graph.inputs for dim in (dims(value) or ()) if isinstance(dim, str)}
    if free:
        wanted = " ".join(f"--dim {name}=N" for name in sorted(free))
        raise InputError(
            f"dims {', '.join(sorted(free))} are dynamic and the target needs static shapes", hint=f"give {wanted}"
        )
    dynamic = first_blocking(model)
    if dynamic is not None:
        raise InputError(
            f"tensor {dynamic.value.name!r} stays dynamic (shape {dynamic.value.shape}): {dynamic.why}",
            where=f"node {label(dynamic.node)}",
            hint=dynamic.way_out,
        )


def _batch_of_one(model: Model, frozen: Mapping[str, int]) -> dict[str, int]:
    """Return size 1 for the one dim that is left free, when it is the leading dim wherever it stands."""
    places = [
        (dim, axis)
        for value in model.graph.inputs
        for axis, dim in enumerate(dims(value) or ())
        if isinstance(dim, str) and dim not in frozen and f"{value.name}:{axis}" not in frozen
    ]
    free = {dim for dim, _ in places}
    return dict.fromkeys(free, 1) if len(free) == 1 and all(axis == 0 for _, axis in places) else {}


def _dropped(
    before: Mapping[str, tuple[int | str | None, ...] | None], model: Model, frozen: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    kept = {value.name for value in model.graph.inputs}
    gone = {name: shape for name, shape in before.items() if name not in kept and shape is not None}
    return {
        name: tuple(dim if isinstance(dim, int) else frozen.get(dim or "", 0) for dim in shape)
        for name, shape in gone.items()
    }
