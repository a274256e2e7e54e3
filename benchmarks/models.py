"""Compile the real models for a Hexagon NPU and measure them: the table of the README.

    python -m benchmarks.models [NAME ...] [--target qualcomm/sm8750] [--keep DIR]

Every figure is computed here: placement from the compiled artifact's manifest, quality with the QDQ model in ONNX
Runtime on the evaluation data, and the compiled binary in the vendor's simulator on one sample.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.location import EXAMPLES, models_folder
from npuopt import api, evaluate
from npuopt.graph.execution import Session
from npuopt.road.options import CompileOptions
from npuopt.verify import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from npuopt.bundle import Manifest

    Arrays = Mapping[str, np.ndarray]


class Measured(NamedTuple):
    """A quality for people, and whether it reaches the bar."""

    text: str
    meets_bar: bool


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: of the row.
        folder: holds model.onnx.
        dims: to freeze.
        precision: the scheme.
        calibration: file in the folder.
        bar: what must be reached.
        measure: (source model, artifact's model.onnx, folder) -> quality.
    """

    name: str
    folder: Path
    dims: Mapping[str, int]
    precision: str
    calibration: str
    bar: str
    measure: Callable[[Path, Path, Path], Measured]


def main() -> int:
    """Print one row for each case."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--target", default="qualcomm/sm8750")
    parser.add_argument("--keep", type=Path, help="keep the artifacts here")
    arguments = parser.parse_args()
    cases = [case for case in all_cases() if not arguments.names or case.name in arguments.names]
    print(
        "| model | nodes on the NPU | MACs | bar | measured | simulator against QDQ: cosine (worst output) | compile |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="npuopt-models-") as temporary:
        for case in cases:
            if not (case.folder / "model.onnx").is_file():
                print(f"| {case.name} | not there: run `make models` | | | | | |")
                continue
            print(row(case, arguments.target, (arguments.keep or Path(temporary)) / case.name), flush=True)
    return 0


def row(case: Case, target: str, out: Path) -> str:
    """Compile and measure one case."""
    source = case.folder / "model.onnx"
    options = CompileOptions(
        dims=case.dims, precision=case.precision, calibration=case.folder / case.calibration, samples=2
    )
    started = time.perf_counter()
    manifest = api.compile(source, target, out, options)
    seconds = time.perf_counter() - started
    placement = manifest.placement
    quality = case.measure(source, out / "model.onnx", case.folder)
    missed = "" if quality.meets_bar else " (missed)"
    cells = (
        f"{case.name}, {case.precision}",
        f"{placement.npu}/{placement.npu + placement.host} ({placement.npu_fraction:.1%})",
        f"{placement.npu_mac_fraction:.1%}",
        case.bar,
        f"{quality.text}{missed}",
        _worst_cosine(manifest),
        f"{seconds:.0f} s",
    )
    return f"| {' | '.join(cells)} |"


def _worst_cosine(manifest: Manifest) -> str:
    stage = next(item for item in manifest.verification if item.name == "compiled")
    cosines = [item.cosine for item in stage.outputs.values() if item.cosine is not None]
    return f"{min(cosines):.6f}" if cosines else "equal"


def _perplexity_of_prefill(source: Path, quantized: Path, folder: Path) -> Measured:
    options = api.EvaluateOptions(folder / "validation_ids.npy", "perplexity", against=source, output="logits")
    found = api.evaluate(quantized, options)
    before, after = found["reference"], found["value"]
    text = f"perplexity {before:.3f} -> {after:.3f} ({after / before - 1:+.2%}), 25,600 tokens"
    return Measured(text, after <= 1.01 * before)


def _perplexity_of_decode(source: Path, quantized: Path, folder: Path) -> Measured:
    """Score the last token of each window: its cache comes from the float model, the step from the quantized one."""
    windows = evaluate.token_windows(np.load(folder / "validation_ids.npy"))
    reference, session = Session(source, optimize=True), Session(quantized)
    caches = [name for name in reference.inputs if name != "input_ids"]
    empty = {name: np.zeros((1, 2, 0, 32), np.float32) for name in caches}
    losses: dict[str, list[float]] = {"before": [], "after": []}
    for window in windows:
        seen = reference.run({"input_ids": window[None, :127], **empty})
        step = {"input_ids": window[None, 127:128], **{name: seen[name.replace("past", "present")] for name in caches}}
        for kind, runner in (("before", reference), ("after", session)):
            logits = runner.run(step, ["logits"])["logits"]
            losses[kind].append(float(evaluate.token_losses(logits[0], window[128:129])[0]))
    before, after = (float(np.exp(np.mean(losses[kind]))) for kind in ("before", "after"))
    text = f"perplexity {before:.3f} -> {after:.3f} ({after / before - 1:+.2%}), {len(windows)} predictions"
    return Measured(text, after <= 1.01 * before)


def _top1(source: Path, quantized: Path, folder: Path) -> Measured:
    data = np.load(folder / "test.npz")
    before = Session(source, optimize=True).run({"input": data["input"]})["logits"]
    session = Session(quantized)
    after = np.concatenate([session.run({"input": image[None]})["logits"] for image in data["input"]])
    accuracies = [evaluate.top1_accuracy(logits, data["labels"]) for logits in (before, after)]
    text = f"top-1 {accuracies[0]:.2%} -> {accuracies[1]:.2%}, {len(after)} images; logits {_sqnr(before, after)}"
    return Measured(text, accuracies[1] >= accuracies[0] - 0.005)


def _agreement(source: Path, quantized: Path, folder: Path) -> Measured:
    images = np.load(folder / "evaluation.npz")["input"]
    before, after = _run_each(source, quantized, [{"input": image} for image in images], "logits")
    agree = evaluate.top1_agreement(before, after)
    text = (
        f"top-1 agreement with float {agree:.1%}, {len(images)} views of 22 photographs; logits {_sqnr(before, after)}"
    )
    return Measured(text, agree >= 0.9)


def _embeddings(source: Path, quantized: Path, folder: Path) -> Measured:
    data = np.load(folder / "evaluation.npz")
    samples = [{name: data[name][index] for name in data.files} for index in range(len(data[data.files[0]]))]
    before, after = _run_each(source, quantized, samples, "last_hidden_state")
    mask = data["attention_mask"].reshape(len(samples), -1)
    cosines = evaluate.cosine_similarities(*(evaluate.sentence_embeddings(hidden, mask) for hidden in (before, after)))
    text = f"embedding cosine to float {cosines.mean():.5f} mean, {cosines.min():.5f} least, {len(samples)} sentences"
    return Measured(text, float(cosines.mean()) >= 0.999)


def _text(source: Path, quantized: Path, folder: Path) -> Measured:
    data = np.load(folder / "evaluation.npz")
    characters = json.loads((folder / "characters.json").read_text(encoding="utf-8"))
    output = Session(source).outputs[0]
    before, after = _run_each(source, quantized, [{"x": line} for line in data["x"]], output)
    read = [evaluate.ctc_greedy_decode(scores, characters) for scores in (before, after)]
    truth = [str(text) for text in data["texts"]]
    exact = [evaluate.exact_match(texts, truth) for texts in read]
    same = evaluate.exact_match(read[1], read[0])
    text = f"text equal to float on {same:.1%} of {len(truth)} lines (exact: {exact[0]:.1%} -> {exact[1]:.1%})"
    return Measured(text, same >= 0.98)


def _run_each(source: Path, quantized: Path, samples: list[Arrays], output: str) -> tuple[np.ndarray, np.ndarray]:
    made: list[np.ndarray] = []
    for path, optimize in ((source, True), (quantized, False)):
        session = Session(path, optimize=optimize)
        names = session.inputs
        runs = [session.run({name: sample[name] for name in names}, [output])[output] for sample in samples]
        made.append(np.concatenate(runs))
    return made[0], made[1]


def _sqnr(before: np.ndarray, after: np.ndarray) -> str:
    return f"SQNR {compare(before, after).sqnr_db:.1f} dB"


def all_cases() -> list[Case]:
    """Return the rows of the table."""
    fetched = models_folder()
    llama, fashion = EXAMPLES / "tiny_llama", EXAMPLES / "fashion_mnist"
    return [
        Case(
            "tiny_llama-decode",
            llama,
            {"batch": 1, "seq": 1, "past": 127},
            "a16w8",
            "calibration.npz",
            "perplexity within 1 %",
            _perplexity_of_decode,
        ),
        Case(
            "tiny_llama-prefill",
            llama,
            {"batch": 1, "seq": 128, "past": 0},
            "a16w8",
            "calibration_prefill.npz",
            "perplexity within 1 %",
            _perplexity_of_prefill,
        ),
        Case("fashion_mnist", fashion, {"batch": 1}, "a8w8", "calibration.npz", "top-1 within 0.5 points", _top1),
        Case(
            "minilm",
            fetched / "minilm",
            {"batch": 1, "seq": 128},
            "a16w8",
            "calibration.npz",
            "cosine >= 0.999",
            _embeddings,
        ),
        Case(
            "efficientnet_lite0",
            fetched / "efficientnet_lite0",
            {"batch": 1},
            "a8w8",
            "calibration.npz",
            "agreement >= 90 %",
            _agreement,
        ),
        Case(
            "ppocr_rec",
            fetched / "ppocr_rec",
            {"x:0": 1, "x:2": 48, "x:3": 320},
            "a16w8",
            "calibration.npz",
            "text equal on >= 98 %",
            _text,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
