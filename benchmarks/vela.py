"""Compare Vela's cycles for npuopt's quantized models with those for ai-edge-quantizer's, of the same float networks.

    python -m benchmarks.vela [MODEL ...] [--targets ID ...] [--samples 8]

Both start from npuopt's float TFLite model (which has no quantizer in it) and see the same samples; the light CNNs have
drawn weights and random samples, so that only structure and figures count. The other quantizer gets an environment of
its own (benchmarks/ai_edge_quantizer.txt), made on the first run. What Vela leaves to the processor is counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.location import models_folder
from benchmarks.optimize import LIGHT
from benchmarks.road_rows import Subject, subjects, write_light
from npuopt import api
from npuopt.delegates.contract import Limits
from npuopt.delegates.ethosu.delegate import NPU, WORKER, options
from npuopt.delegates.litert.ports import load_ports
from npuopt.delegates.process import run_child
from npuopt.road.options import CompileOptions
from npuopt.target import load_target
from npuopt.toolchain import environment
from tools.models.environment import environment_python

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from npuopt.delegates.litert.ports import Port

HERE = Path(__file__).parent
MODELS = ("fashion_mnist", "light_squeezenet", "light_resnet50", "efficientnet_lite0")
TARGETS = ("arm/ethos-u55-128", "arm/ethos-u85-512")
SECONDS = 900


@dataclass(frozen=True)
class Made:
    """What Vela made of a model: cycles, bytes of SRAM, and operators that it left to the processor."""

    cycles: int
    sram: int
    left: tuple[str, ...]


def main() -> int:
    """Print a row for each model and target; 1 when npuopt's cycles are more than the other quantizer's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vela", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", default=list(MODELS))
    parser.add_argument("--targets", nargs="+", metavar="ID", default=list(TARGETS))
    parser.add_argument("--samples", type=int, default=8, help="that both calibrate with")
    arguments = parser.parse_args()
    python = environment_python(models_folder() / ".ai_edge_quantizer", HERE / "ai_edge_quantizer.txt")
    more = 0
    print("| model | target | npuopt | ai-edge-quantizer | cycles, npuopt / other |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="npuopt-vela-") as temporary:
        folder = Path(temporary)
        for name in arguments.models:
            subject = subjects(folder)[name]
            if name in LIGHT:
                write_light(name, subject)
                subject = replace(subject, calibration="random")  # by data, outputs would have 16 bits with ours alone
            other = quantized_by_the_other(subject, folder / name, arguments.samples, python)
            for target in arguments.targets:
                own = own_model(subject, target, folder / name)
                pair = [vela(model, target, folder / name) for model in (own, other)]
                more += pair[0].cycles > pair[1].cycles
                cells = " | ".join(told(made) for made in pair)
                print(f"| {name} | {target} | {cells} | {pair[0].cycles / pair[1].cycles:.5f} |", flush=True)
    return int(more > 0)


def told(made: Made) -> str:
    """Write a cell of the table."""
    left = f", processor: {' '.join(made.left)}" if made.left else ""
    return f"{made.cycles / 1e6:.5g} M, {made.sram / 1024:.0f} KiB{left}"


def own_model(subject: Subject, target: str, folder: Path) -> Path:
    """Compile with npuopt and return the TFLite model that Vela got."""
    out = folder / target.replace("/", "-")
    calibration = "random" if subject.calibration == "random" else str(subject.file.parent / subject.calibration)
    manifest = api.compile(
        subject.file, target, out, CompileOptions(dims=subject.dims, calibration=calibration, verify="off")
    )
    [step] = [step for step in manifest.steps if step.kind == "npu"]
    return (out / step.files[0]).with_name("model.tflite")


def quantized_by_the_other(subject: Subject, folder: Path, count: int, python: Path) -> Path:
    """Export the float model, and let the other quantizer quantize it."""
    folder.mkdir()
    out = folder / "float"
    given = CompileOptions(dims=subject.dims, precision="fp32", verify="off")
    manifest = api.compile(subject.file, "android/litert", out, given)
    model = (out / manifest.steps[0].files[0]).with_name("model.tflite")
    inputs, _ = load_ports(model.with_name("model.json"))
    np.savez(folder / "samples.npz", allow_pickle=False, **samples(subject, inputs, count))
    job = {
        "source": str(model),
        "output": str(folder / "other.tflite"),
        "calibration": str(folder / "samples.npz"),
        "signature": "serving_default",
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [str(python), "-I", str(HERE / "ai_edge_quantizer_peer.py"), str(folder / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        raise SystemExit(f"ai-edge-quantizer failed: {done.stderr[-500:]}")
    return folder / "other.tflite"


def samples(subject: Subject, inputs: Sequence[Port], count: int) -> dict[str, np.ndarray]:
    """Return samples as the float TFLite model takes them."""
    random = np.random.default_rng(0)
    if subject.calibration == "random":
        return {port.name: random.normal(size=(count, *port.shape)).astype(np.float32) for port in inputs}
    with np.load(subject.file.parent / subject.calibration, allow_pickle=False) as archive:
        arrays: Mapping[str, np.ndarray] = {port.name: archive[port.name][:count] for port in inputs}
    sizes = {port.name: tuple(port.shape[port.order.index(axis)] for axis in range(len(port.order))) for port in inputs}
    return {
        port.name: np.stack([port.store(item.reshape(sizes[port.name])) for item in arrays[port.name]])
        for port in inputs
    }


def vela(model: Path, target: str, folder: Path) -> Made:
    """Compile a TFLite model with Vela for a target."""
    made = folder / f"vela-{target.replace('/', '-')}-{model.stem}"
    made.mkdir()
    request = {
        "operation": "compile",
        "model": str(model),
        "folder": str(made),
        "options": options(load_target(target)),
    }
    limits = Limits(seconds=SECONDS)
    child = run_child(WORKER, request, log=made / "log.txt", limits=limits, python=environment("vela").python)
    answer = child.require("Vela", where=str(model))
    summary = cast("Mapping[str, str]", answer["summary"])
    left = tuple(sorted({str(name) for name, _ in answer["operators"]} - {NPU}))
    return Made(round(float(summary["cycles_total"])), round(float(summary["sram_memory_used"]) * 1024), left)


if __name__ == "__main__":
    sys.exit(main())
