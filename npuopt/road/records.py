"""Turns what happened on the road into what is written down: the manifest and `check`'s result."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt import __version__
from npuopt.bundle import Manifest, NodeRecord, PassRecord, PlacementSummary, describe_files, sha256
from npuopt.graph import label
from npuopt.pipeline.checks import count_nodes
from npuopt.pipeline.legalize import LegalizationReport
from npuopt.road.agreement import advice
from npuopt.target.views import converts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.bundle import Stage
    from npuopt.graph import Node
    from npuopt.partition import Plan
    from npuopt.pipeline import Report
    from npuopt.road.compilation import CompiledPlan
    from npuopt.road.figures import RegionFigures
    from npuopt.road.options import CompileOptions
    from npuopt.road.preparation import Prepared
    from npuopt.road.quantizing import Quantized
    from npuopt.target import Target

PACKAGES = ("onnx", "onnx-ir", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Lowered:
    """How many nodes of one type were taken apart, and by which lowerings, outermost first."""

    op_type: str
    by: tuple[str, ...]
    nodes: int


@dataclass(frozen=True)
class CheckResult:
    """Where each node would go, and why.

    Attributes:
        refused_before: nodes that the device takes in no scheme, as the model has them.
        refused_after: the same once the lowerings are done.
        lowered: what was taken apart.
        tried: name of a node on the host -> each lowering that was tried on it, and why it does not help.
        saved: one-op models that were written.
        regions: what each region would take.
    """

    model: str
    target: str
    scheme: str
    summary: PlacementSummary
    nodes: tuple[NodeRecord, ...]
    refused_before: int = 0
    refused_after: int = 0
    lowered: tuple[Lowered, ...] = ()
    tried: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    saved: tuple[str, ...] = ()
    regions: tuple[RegionFigures, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what `check --json` prints."""
        return {
            "model": self.model,
            "target": self.target,
            "scheme": self.scheme,
            "summary": self.summary.model_dump(),
            "refused_before": self.refused_before,
            "refused_after": self.refused_after,
            "lowered": [asdict(item) for item in self.lowered],
            "nodes": [
                {**node.model_dump(mode="json"), "tried": list(self.tried.get(node.name, ()))} for node in self.nodes
            ],
            "saved": list(self.saved),
            "regions": [asdict(region) for region in self.regions],
        }


def check_result(
    model: Path,
    target: Target,
    scheme: str,
    prepared: Prepared,
    plan: Plan,
    *,
    saved: Sequence[Path] = (),
    regions: Sequence[RegionFigures] = (),
) -> CheckResult:
    """Put a placement on record."""
    report = prepared.legalization or LegalizationReport()
    lowered = Counter((entry.op_type, entry.lowered_by) for entry in report.entries if entry.lowered_by)
    tried = {entry.node: entry.tried for entry in report.entries}
    return CheckResult(
        str(model),
        target.name,
        scheme,
        _summary(plan),
        nodes_of(plan, prepared),
        report.refused_before,
        report.refused_after,
        tuple(Lowered(op_type, by, count) for (op_type, by), count in sorted(lowered.items())),
        {_name(item.node): tried.get(label(item.node), ()) for item in plan.placements if item.where == "host"},
        tuple(str(path) for path in saved),
        tuple(regions),
    )


@dataclass(frozen=True)
class Journey:
    """Everything that happened to one model on its way to an artifact."""

    source: Path
    target: Target
    scheme: str
    options: CompileOptions
    prepared: Prepared
    quantized: Quantized
    plan: Plan
    compiled: CompiledPlan
    stages: Sequence[Stage]


def manifest(journey: Journey, folder: Path) -> Manifest:
    """Put a whole compile on record; `folder` holds every file of the artifact by now."""
    model, target, options, prepared = journey.source, journey.target, journey.options, journey.prepared
    quantized, compiled, plan = journey.quantized, journey.compiled, journey.plan
    return Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        npuopt=__version__,
        source={"file": model.name, "sha256": sha256(model), "bytes": model.stat().st_size},
        target={"name": target.name, "title": target.title, "facts_sha256": target.fingerprint},
        recipe={
            "dims": dict(options.dims),
            "assumed_dims": dict(prepared.assumed_dims),
            "precision": journey.scheme,
            "verify": options.verify,
            "host": options.host,
            "calibration": str(options.calibration) if options.calibration is not None else None,
            "calibration_samples": quantized.calibration_samples,
            "pass_files": [path.name for path in options.pass_files],
        },
        tools={
            **{name: version(name) for name in PACKAGES},
            "python": platform.python_version(),
            **compiled.tools,
        },
        passes=tuple(pass_record(report) for report in prepared.runner.reports),
        legalization=_legalization(prepared),
        dropped_inputs=tuple(prepared.dropped_inputs),
        placement=_summary(plan),
        nodes=nodes_of(plan, prepared),
        calibration=quantized.calibration_record(options),
        encodings=_encodings(journey),
        steps=tuple(compiled.steps),
        verification=tuple(journey.stages),
        files=describe_files(folder),
    )


def _encodings(journey: Journey) -> dict[str, Any]:
    """Put on record how the model's numbers are held, and what to do where that costs too much."""
    quantized, encodings, halved = journey.quantized, journey.quantized.encodings, journey.quantized.halved
    if encodings is None and halved is None:
        return {}
    compared = next((stage for stage in journey.stages if stage.name == "quantized"), None)
    advised = {"advice": advice(compared, journey.target, journey.scheme, chosen=is_chosen(journey.options, quantized))}
    if encodings is None:
        return advised if halved is None else {"halved": halved.to_json(), **advised}
    return {
        "file": "encodings.json",
        "tensors": len(encodings.tensors),
        "steps": [asdict(step) for step in quantized.steps],
        "sha256": hashlib.sha256(encodings.to_json().encode()).hexdigest(),
        "findings": [asdict(finding) for finding in quantized.findings],
        "search": quantized.search,
        **advised,
    }


def is_chosen(options: CompileOptions, quantized: Quantized) -> bool:
    """Say whether a search or encodings that were given decided how each node is computed."""
    return bool(options.max_drop or options.budget or options.encodings or quantized.kept)


def quantization(
    prepared: Prepared, quantized: Quantized, options: CompileOptions, checked: Stage | None
) -> dict[str, Any]:
    """Put on record what `quantize` did; `checked` is how close its result is to float, where that was looked at."""
    encodings = quantized.encodings
    return {
        "encodings": 0 if encodings is None else len(encodings.tensors) + len(encodings.blocks),
        "steps": [asdict(step) for step in quantized.steps],
        "nodes": count_nodes(prepared.model),
        "samples": 0 if checked is None else checked.samples,
        "outputs": {} if checked is None else checked.model_dump(mode="json")["outputs"],
        "findings": [asdict(finding) for finding in quantized.findings],
        "search": quantized.search,
        "calibration": quantized.calibration_record(options),
        "kept": None if quantized.kept is None else quantized.kept.to_json(),
        "halved": None if quantized.halved is None else quantized.halved.to_json(),
    }


def describe_outputs(name: str, arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    """Describe what samples gave for an output in a few numbers.

    The numbers are None where there is no finite one, sizes are None where they differ from sample to sample.
    """
    sizes = [set(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    array = np.concatenate([array.reshape(-1) for array in arrays])

    def number(value: float) -> float | None:
        return float(value) if isfinite(value) else None

    numeric = array.size > 0 and array.dtype.kind in "fiub"
    return {
        "name": name,
        "shape": [found.pop() if len(found) == 1 else None for found in sizes],
        "dtype": str(array.dtype),
        "min": number(array.min()) if numeric else None,
        "max": number(array.max()) if numeric else None,
        "mean": number(array.astype(np.float64).mean()) if numeric else None,
    }


def pass_record(report: Report) -> PassRecord:
    """Put one pass on record."""
    return PassRecord(
        name=report.name,
        changed=len(report.changed),
        declined=len(report.declined),
        seconds=round(report.seconds, 4),
        nodes_before=report.nodes_before,
        nodes_after=report.nodes_after,
        notes=tuple(report.notes),
    )


def _summary(plan: Plan) -> PlacementSummary:
    return PlacementSummary(**vars(plan.summary))


def nodes_of(plan: Plan, prepared: Prepared) -> tuple[NodeRecord, ...]:
    """Put on record where each node went, conversions at the edge aside."""
    origins = prepared.legalization.origins if prepared.legalization else {}
    return tuple(
        NodeRecord(
            name=_name(item.node),
            op_type=item.node.op_type,
            domain=item.node.domain,
            placement=item.where,
            region=item.part,
            reasons=item.reasons,
            lowered_by=origins.get(item.node.name or "", ()),
        )
        for item in plan.placements
        if item.where != "edge" or not converts(item.node)
    )


def _name(node: Node) -> str:
    return node.name or (node.outputs[0].name or "")


def _legalization(prepared: Prepared) -> tuple[dict[str, Any], ...]:
    report = prepared.legalization
    return tuple(asdict(entry) for entry in report.entries) if report else ()
