"""One compile of a model for a target, and what is known of it afterwards: a row of `benchmarks.roads`."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.location import EXAMPLES, models_folder
from benchmarks.optimize import LIGHT, LIGHT_FOLDER
from benchmarks.seeded_weights import seeded_samples, seeded_weights
from npuopt import api
from npuopt.cli.quantization_options import parse_precisions
from npuopt.errors import NpuoptError
from npuopt.road.options import CompileOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.bundle import Manifest


LIGHT_SAMPLES = 8
"""Random images that a light CNN is calibrated with: they differ in noise alone."""


@dataclass(frozen=True)
class Subject:
    """A model, its dims, and its calibration data; `random` where only structure and figures count."""

    file: Path
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    calibration: str = "random"


@dataclass(frozen=True)
class Column:
    """What each model is compiled for; `random` data gives structure and figures alone, and nothing is compared."""

    title: str
    target: str
    precision: str = "auto"
    random: bool = False
    keep: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """What one compile gave; `why` where it gave nothing."""

    model: str
    target: str
    column: str = ""
    scheme: str = ""
    npu_fraction: float | None = None
    edge: int = 0
    host_ops: tuple[str, ...] = ()
    seconds: float = 0.0
    cosine: float | None = None
    sqnr_db: float | None = None
    figures: dict[str, Any] = field(default_factory=dict[str, Any])
    estimated_seconds: float | None = None
    estimated_peak: int | None = None
    estimated_on_chip: int | None = None
    why: str = ""


COLUMNS = (
    Column("Qualcomm SM8750, a16w8", "qualcomm/sm8750", "a16w8"),
    Column("LiteRT, a16w8", "android/litert", "a16w8"),
    Column("LiteRT, a8w8", "android/litert", "a8w8"),
    Column("Ethos-U55-128, a8w8", "arm/ethos-u55-128", "a8w8"),
    Column("Ethos-U85-512, a8w8", "arm/ethos-u85-512", "a8w8"),
    Column("Intel NPU 4000, fp16", "intel/npu4000", "fp16"),
    Column("Intel NPU 4000, a8w8", "intel/npu4000", "a8w8"),
    Column("RK3588, fp16", "rockchip/rk3588", "fp16"),
    Column("RK3588, a8w8", "rockchip/rk3588", "a8w8"),
    Column("IREE, fp32", "host/iree-x86-64", "fp32"),
    Column("TVM, fp32", "host/x86-64", "fp32"),
)
"""The columns of the README's table; the others of a target are asked for by `--targets`."""


def subjects(folder: Path) -> dict[str, Subject]:
    """Name every model; the light CNNs are written to `folder` when they are asked for."""
    llama, fetched = EXAMPLES / "tiny_llama", models_folder()
    named = {
        "fashion_mnist": Subject(EXAMPLES / "fashion_mnist/model.onnx", {"batch": 1}, "calibration.npz"),
        "tiny_llama-decode": Subject(llama / "model.onnx", {"batch": 1, "seq": 1, "past": 127}, "calibration.npz"),
        "tiny_llama-prefill": Subject(
            llama / "model.onnx", {"batch": 1, "seq": 128, "past": 0}, "calibration_prefill.npz"
        ),
        "minilm": Subject(fetched / "minilm/model.onnx", {"batch": 1, "seq": 128}, "calibration.npz"),
        "efficientnet_lite0": Subject(fetched / "efficientnet_lite0/model.onnx", {"batch": 1}, "calibration.npz"),
        "ppocr_rec": Subject(fetched / "ppocr_rec/model.onnx", {"x:0": 1, "x:2": 48, "x:3": 320}, "calibration.npz"),
        "ppocr_det": Subject(fetched / "ppocr_det/model.onnx", {"x:0": 1, "x:2": 320, "x:3": 320}, "calibration.npz"),
        "silero": Subject(fetched / "silero/model.onnx", {"sequence_length": 32}, "calibration.npz"),
    }
    return {**named, **{name: Subject(folder / f"{name}.onnx", calibration=f"{name}.npz") for name in LIGHT}}


def write_light(name: str, subject: Subject) -> None:
    """Write one of the light CNNs with drawn weights, and random images as its data, to its subject's files."""
    seeded_weights(LIGHT_FOLDER / f"{name}.onnx", subject.file)
    seeded_samples(subject.file, subject.file.parent / subject.calibration, LIGHT_SAMPLES)


def compile_one(name: str, subject: Subject, column: Column, out: Path, *, seconds: float, checked: bool) -> Row:
    """Compile one model for one target and put together what is known of it.

    Args:
        name: of the model.
        subject: the model and its data.
        column: the target, and how to compile.
        out: the folder of the artifact.
        seconds: that a vendor's tool may take.
        checked: whether to estimate the vendor's figures too.
    """
    drawn = column.random or subject.calibration == "random"
    options = CompileOptions(
        dims=subject.dims,
        calibration="random" if drawn else str(subject.file.parent / subject.calibration),
        precision=column.precision,
        precisions=parse_precisions(None, list(column.keep)),
        samples=1,
        time_limit=seconds,
        **({"verify": "off"} if column.random else {}),
    )
    started = time.perf_counter()
    try:
        estimates = _estimates(subject, column) if checked else {}
        started = time.perf_counter()
        manifest = api.compile(subject.file, column.target, out, options)
    except NpuoptError as error:
        taken = time.perf_counter() - started
        return Row(name, column.target, column.title, column.precision, seconds=taken, why=str(error)[:200])
    return Row(
        model=name,
        target=column.target,
        column=column.title,
        scheme=str(manifest.recipe["precision"]),
        npu_fraction=manifest.placement.npu_fraction,
        edge=manifest.placement.edge,
        host_ops=tuple(sorted({node.op_type for node in manifest.nodes if node.placement == "host"})),
        seconds=time.perf_counter() - started,
        **_closeness(manifest),
        figures=_figures(manifest),
        **estimates,
    )


def _estimates(subject: Subject, column: Column) -> dict[str, Any]:
    """Estimate seconds and bytes from the target's descriptor; no entry where it says too little."""
    options = CompileOptions(dims=subject.dims, precision=column.precision)
    regions = api.check(subject.file, column.target, options).regions
    times = [region.seconds for region in regions if region.seconds is not None]
    plans = [region.memory for region in regions if region.memory]
    return {
        "estimated_seconds": sum(times) if times else None,
        "estimated_peak": max((plan.peak for plan in plans), default=None),
        "estimated_on_chip": max((plan.on_chip for plan in plans), default=None),
    }


def _closeness(manifest: Manifest) -> dict[str, float | None]:
    """Return the worst output's cosine and SQNR: infinite where all are equal, NaN where one is no number."""
    compiled = next((stage for stage in manifest.verification if stage.name == "compiled"), None)
    outputs = [] if compiled is None else list(compiled.outputs.values())
    if not outputs:
        return {"cosine": None, "sqnr_db": None}
    if any(output.max_abs is None or output.cosine is None for output in outputs):
        return {"cosine": math.nan, "sqnr_db": math.nan}
    levels = [output.sqnr_db for output in outputs if output.sqnr_db is not None]
    return {"cosine": min(output.cosine or 0.0 for output in outputs), "sqnr_db": min(levels, default=math.inf)}


def _figures(manifest: Manifest) -> dict[str, Any]:
    """Sum up what the vendor says of all regions: cycles and bytes add up, memory is that of the largest."""
    steps = [step.figures for step in manifest.steps if step.kind == "npu"]
    total: dict[str, Any] = {}
    for figures in steps:
        cycles = figures.get("cycles")
        if isinstance(cycles, dict):
            total["cycles"] = total.get("cycles", 0) + int(cycles["total"])
        for key in ("sram_bytes", "dram_bytes", "internal_bytes"):
            if key in figures:
                total[key] = max(total.get(key, 0), int(figures[key]))
        for key in ("binary_bytes", "model_bytes"):
            if key in figures:
                total[key] = total.get(key, 0) + int(figures[key])
        for key, number in figures.get("against_litert", {}).items():
            total[key] = total.get(key, 0) + int(number)
    return total
