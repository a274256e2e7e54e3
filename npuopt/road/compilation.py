"""The end of the road: from a prepared graph to compiled steps and the comparison of every stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from math import isfinite
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from npuopt.bundle import OutputComparison, Stage, Step
from npuopt.delegates.child_log import keep_log
from npuopt.delegates.contract import CompiledRegion, Limits, WeightSharer
from npuopt.delegates.registry import find_delegate
from npuopt.errors import PlacementError, UsageError, VendorToolError
from npuopt.graph import save
from npuopt.graph.execution import Session, side_by_side
from npuopt.partition import extract_region
from npuopt.target.views import converts
from npuopt.verify import compare_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from npuopt.graph import Model, Node
    from npuopt.partition import Part, Plan
    from npuopt.road.preparation import Prepared
    from npuopt.target import Target
    from npuopt.verify import Comparison

    Arrays = dict[str, np.ndarray]
    Known = dict[tuple[str, bytes], tuple[Path, CompiledRegion]]
    """A part's model and what was made of it, by the road and a hash of the model."""


@dataclass
class CompiledPlan:
    """Every part of a plan, compiled.

    Attributes:
        steps: what to run, in order.
        regions: what each delegate returned, by step name.
    """

    steps: list[Step] = field(default_factory=list[Step])
    regions: dict[str, CompiledRegion] = field(default_factory=dict[str, CompiledRegion])

    @property
    def elsewhere(self) -> str:
        """Why the parts do not all run on this machine, or an empty string."""
        return next((region.elsewhere for region in self.regions.values() if region.elsewhere), "")

    @property
    def tools(self) -> dict[str, str]:
        """Versions of all tools that took part."""
        return {name: version for region in self.regions.values() for name, version in region.tools.items()}


def save_parts(model: Model, plan: Plan, folder: Path) -> dict[str, Path]:
    """Write each part of a plan below `folder` as a model of its own; returns where, by the part's name."""
    sources: dict[str, Path] = {}
    for part in plan.parts:
        sources[part.name] = folder / ("regions" if part.kind == "npu" else "host") / part.name / "model.onnx"
        sources[part.name].parent.mkdir(parents=True)
        save(extract_region(model, part), sources[part.name])
    return sources


def compile_plan(
    plan: Plan,
    sources: Mapping[str, Path],
    target: Target,
    host: str,
    folder: Path,
    limits: Limits,
    *,
    below: str = "",
    known: Known | None = None,
) -> CompiledPlan:
    """Compile each part of `plan`: regions by the target's road, the rest by the host's.

    Args:
        plan: what goes where.
        sources: each part's model, by name; somewhere below `folder`.
        target: what is compiled for.
        host: the host's road.
        folder: where the paths of steps start.
        limits: of each vendor tool run.
        below: the folder in `folder` for what is made.
        known: parts that were compiled before, and whose models share a file of weights with these: equal ones are
            not compiled again, and all but one of their models go. New ones are added.

    Raises:
        VendorToolError: also when the vendor's tool left a node of a region off the device.
    """
    compiled = CompiledPlan()
    for part in plan.parts:
        on_device = part.kind == "npu"
        road = target.delegate.road if on_device else host
        source = sources[part.name]
        key = _key(road, source)
        if known is not None and key in known:
            first, region = known[key]
            if first != source:
                source.unlink()
        else:
            first, region = source, _compiled(source, folder / below / road / part.name, target, road, limits, folder)
        if on_device:
            _prove(region, part)
        if known is not None:
            known[key] = (first, region)
        compiled.regions[part.name] = region
        compiled.steps.append(_step(part, road, region, first, folder))
    return compiled


def compile_sharing(
    plans: Sequence[Plan], sources: Sequence[Mapping[str, Path]], target: Target, folder: Path, limits: Limits
) -> Known:
    """Compile the regions of several plans into one binary, which holds weights that are equal once.

    Args:
        plans: what goes where.
        sources: of each plan each part's model, by name; in `folder`, and they share a file of weights.
        target: what is compiled for.
        folder: where the binary goes.
        limits: of the vendor's tool.

    Raises:
        UsageError: when the target's compiler makes no such binaries.
        VendorToolError: as the delegate's.
    """
    sharer = weight_sharer(target)
    road = target.delegate.road
    found: dict[tuple[str, bytes], Path] = {}
    for plan, paths in zip(plans, sources, strict=True):
        for part in plan.regions:
            found.setdefault(_key(road, paths[part.name]), paths[part.name])
    regions = sharer.compile_sharing(list(found.values()), folder, target, limits=limits) if found else []
    return {key: (path, region) for (key, path), region in zip(found.items(), regions, strict=True)}


def weight_sharer(target: Target) -> WeightSharer:
    """Return the target's delegate as one that puts several regions into one binary.

    Raises:
        UsageError: when it is none.
    """
    delegate = find_delegate(target.delegate.road)
    if isinstance(delegate, WeightSharer):
        return delegate
    raise UsageError(
        f"the compiler of {target.name} makes no binaries that share weights", hint="leave out --share-weights"
    )


def _key(road: str, source: Path) -> tuple[str, bytes]:
    return road, sha256(source.read_bytes()).digest()


def _compiled(source: Path, made_in: Path, target: Target, road: str, limits: Limits, folder: Path) -> CompiledRegion:
    made_in.mkdir(parents=True)
    try:
        region = find_delegate(road).compile(source, made_in, target, limits=limits)
    except VendorToolError as error:  # the unfinished folder goes, so its paths would name nothing
        where = made_in.name if str(folder) in error.where else error.where
        raise VendorToolError(error.what, where=where, hint=error.hint) from error
    _remove_empty(made_in, folder)
    return region


def _remove_empty(made_in: Path, folder: Path) -> None:
    """Remove the folder of a delegate that runs the part's model where it lies, and folders that are empty with it."""
    while made_in != folder and not any(made_in.iterdir()):
        made_in.rmdir()
        made_in = made_in.parent


def require_share(share: float, wanted: float, model: Path, chip: Target) -> None:
    """Raise PlacementError when the device takes a smaller share of the nodes than asked for."""
    if share < wanted:
        raise PlacementError(
            f"{chip.name} takes {share:.1%} of the nodes, less than the {wanted:.1%} asked for",
            where=str(model),
            hint="`npuopt check` lists the reasons",
        )


def _prove(region: CompiledRegion, part: Part) -> None:
    """Check that the vendor's tool took every node of a region, conversions and layout at its edge aside."""
    edge = {node.name for node in part.nodes if converts(node) and _touches_edge(node, part)}
    strays = [node for node in region.nodes if not (node.on_npu or node.edge or node.name in edge)]
    if strays:
        first = strays[0]
        kept = f"; its log: {keep_log(region.folder / region.log)}" if region.log else ""
        raise VendorToolError(
            f"the compiler left {len(strays)} node(s) of {part.name} off the device,"
            f" first {first.op_type} {first.name}: {first.reason or 'no reason given'}",
            where=part.name,
            hint=f"the descriptor promises more than the compiler takes: run `npuopt targets probe`{kept}",
        )


def _touches_edge(node: Node, part: Part) -> bool:
    given, made = set(part.inputs), set(part.outputs)
    reads = any(value is not None and value.name in given for value in node.inputs)
    return reads or any(value.name in made for value in node.outputs)


def _step(part: Part, road: str, region: CompiledRegion, source: Path, folder: Path) -> Step:
    base = PurePosixPath(region.folder.relative_to(folder).as_posix())
    return Step(
        name=part.name,
        kind=part.kind,
        road=road,
        model=source.relative_to(folder).as_posix(),
        files=tuple(str(base / file) for file in region.files),
        folder=str(base),
        inputs=part.inputs,
        outputs=part.outputs,
        figures=dict(region.figures),
        log=str(base / region.log) if region.log else "",
    )


def reference_runs(source: Path, prepared: Prepared, samples: Sequence[Arrays]) -> list[Arrays]:
    """Run the source model as it came; inputs that the freeze made empty are given as empty arrays."""
    session = Session(source, at_once=side_by_side(len(samples)))
    empty = {name: np.zeros(shape, session.input_type(name)) for name, shape in prepared.dropped_inputs.items()}
    return session.run_each([{**sample, **empty} for sample in samples])


def model_runs(model: Model | Path, samples: Sequence[Arrays]) -> list[Arrays]:
    """Run a model in ONNX Runtime on every sample."""
    return Session(model, at_once=side_by_side(len(samples))).run_each(samples)


def stage(name: str, against: str, reference: Sequence[Arrays], got: Sequence[Arrays]) -> Stage:
    """Compare two sets of runs and put it on record."""
    compared = compare_runs(reference, got)
    return Stage(
        name=name,
        against=against,
        samples=len(reference),
        outputs={output: _on_record(item) for output, item in compared.items()},
    )


def _on_record(item: Comparison) -> OutputComparison:
    def finite(value: float) -> float | None:
        return value if isfinite(value) else None

    return OutputComparison(
        cosine=finite(item.cosine),
        sqnr_db=finite(item.sqnr_db),
        max_abs=finite(item.max_abs),
        elements=item.elements,
        other_size=item.other_size,
    )
