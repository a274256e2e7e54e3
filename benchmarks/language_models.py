"""Compile language models and measure what they say: the table of docs/language_models.md.

    python -m benchmarks.language_models [MODEL ...] [--targets ID ...] [--windows N] [--keep DIR]

Every row is computed here, each model compiled for each target and scheme: the static profiles against the dynamic
model, perplexity by way of prefill and of decode on the same windows, the compiled parts against ONNX Runtime on the
same graph, and what it takes to speak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.language_quality import begun_losses, greedy_answers
from benchmarks.language_subjects import subjects
from npuopt import api
from npuopt.bundle import read_manifest
from npuopt.evaluate.token_samples import perplexity_samples
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.inputs import input_specs
from npuopt.road.options import CompileOptions, LanguageModelOptions
from npuopt.road.speaking import compare_next_tokens
from npuopt.runtime import GenerateOptions, open_decoder, open_generator
from npuopt.runtime.generation.caches import bytes_per_token, cache_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from benchmarks.language_subjects import Subject
    from npuopt.bundle import LanguageModelRecord
    from npuopt.runtime import Engine

    Floats = NDArray[np.floating]

STEPS = 8
"""Decode steps on a simulator."""

ANSWER = 32
"""Tokens that each prompt is answered with."""

SAID = 100
"""Tokens that are said beside the dynamic model, and when speed is measured."""


@dataclass(frozen=True)
class Compiled:
    """An artifact of a subject."""

    name: str
    subject: Subject
    target: str
    scheme: str
    folder: Path
    seconds: float | None
    """That compiling took; None where it was there already."""

    @property
    def record(self) -> LanguageModelRecord:
        """What it says of its model."""
        found = read_manifest(self.folder).language_model
        if found is None:
            raise SystemExit(f"{self.folder} is no artifact of a language model")
        return found

    @property
    def is_quantized(self) -> bool:
        """Whether weights, activations or the cache are held as integers."""
        return not self.scheme.startswith("fp") or any(cache.held_as is not None for cache in self.record.caches)


@dataclass(frozen=True)
class Row:
    """One figure; `is_met` is None where no bar is set."""

    what: str
    measured: str
    bar: str = ""
    is_met: bool | None = None


def main() -> int:
    """Print the rows of each model."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language_models", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--targets", nargs="+", metavar="ID", help="these only")
    parser.add_argument("--windows", type=int, default=20, help="of the text, each as long as the context")
    parser.add_argument("--keep", type=Path, help="keep the artifacts here, and take those that are there")
    arguments = parser.parse_args()
    known = subjects()
    print("| model | target, scheme | what | bar | measured |\n|---|---|---|---|---|")
    missed = 0
    with tempfile.TemporaryDirectory(prefix="npuopt-language-models-") as temporary:
        for name in arguments.models or known:
            if not known[name].source.is_file():
                print(f"| {name} | not there: run `make models` | | | |")
                continue
            folder = arguments.keep or Path(temporary)
            for artifact in compiled(name, known[name], arguments.targets, folder):
                for row in rows_of(artifact, arguments.windows):
                    print(text_of(artifact, row), flush=True)
                    missed += row.is_met is False
    return int(missed > 0)


def compiled(name: str, subject: Subject, targets: Sequence[str] | None, folder: Path) -> Iterator[Compiled]:
    """Compile a model for its targets in all schemes; what is there already is taken as it is."""
    for target, schemes in subject.schemes.items():
        for scheme in schemes if targets is None or target in targets else ():
            out = folder / f"{name}-{target.replace('/', '-')}-{scheme}"
            started, is_new = time.perf_counter(), not out.exists()
            if is_new:
                compile_to(out, subject, target, scheme)
            seconds = time.perf_counter() - started if is_new else None
            yield Compiled(name, subject, target, scheme, out, seconds)


def compile_to(out: Path, subject: Subject, target: str, scheme: str) -> None:
    """Compile a model for one target in one scheme."""
    precision, _, cache = scheme.partition("+")
    kind: Literal["int8", "int16"] | None = "int8" if cache == "int8" else "int16" if cache == "int16" else None
    wanted = LanguageModelOptions(
        context=subject.context, chunk=subject.chunk, cache_type=kind, embedding=subject.embedding
    )
    is_float = precision.startswith("fp") and kind is None
    data = None if is_float else str(subject.texts.get(scheme, subject.calibration))
    left_out = subject.without_steps if precision.startswith("a") else ()
    options = CompileOptions(
        precision=precision, calibration=data, verify="off", language_model=wanted, without_steps=left_out
    )
    api.compile(subject.source, target, out, options)


def rows_of(artifact: Compiled, windows: int) -> Iterator[Row]:
    """Measure one artifact."""
    placement = read_manifest(artifact.folder).placement
    yield Row("nodes on the device", f"{placement.npu_fraction:.1%}, {placement.edge} at the edge")
    if artifact.subject.begun is not None:
        yield from begun_quality(artifact, artifact.subject.begun, windows)
    elif artifact.is_quantized:
        yield from quality(artifact, windows)
    else:
        yield from equality(artifact)
    if artifact.subject.prompts:
        yield from answers(artifact)
    if artifact.subject.begun is None:
        yield compiled_parts(artifact)
    yield from speed(artifact)


def equality(artifact: Compiled) -> Iterator[Row]:
    """Hold float profiles against the dynamic model, through a conversation that outgrows the context."""
    subject, made = artifact.subject, list[float]()
    dynamic = dynamic_model(subject.source)
    generator = open_generator(artifact.folder, threads=1)
    read, same = generator.decoder.read, list[bool]()

    def compared(tokens: Sequence[int]) -> Floats:
        logits, expected = read(tokens), dynamic(generator.tokens)[-1]
        made.append(float(np.abs(logits - expected).max()))
        same.append(bool(logits.argmax() == expected.argmax()))
        return logits

    generator.decoder.read = compared
    prompt = text_ids(subject)[: 3 * subject.context // 5].tolist()
    for _ in generator.generate(prompt, GenerateOptions(max_tokens=SAID, when_full="slide", past_end=True)):
        pass
    what = f"{SAID} tokens after {len(prompt)}, context of {subject.context} outgrown {generator.trims} time(s)"
    measured = f"largest difference of logits {max(made):.1e}, {sum(same)} of {SAID} tokens the same"
    yield Row(what, measured, "1e-4 of the dynamic model", max(made) <= 1e-4 and generator.trims > 0)


def quality(artifact: Compiled, windows: int) -> Iterator[Row]:
    """Hold a quantized model against the float one on the same windows, read by either profile."""
    subject, perplexities = artifact.subject, list[float]()
    for profile in ("decode", "prefill"):
        both, size = (artifact.folder, subject.source), subject.context
        report = compare_next_tokens(*both, text_ids(subject), window=size, limit=windows, profile=profile)
        own, other = report["perplexity"], report["reference_perplexity"]
        perplexities.append(own)
        lost = 100 * (own / other - 1)
        measured = (
            f"{other:.3f} -> {own:.3f} ({lost:+.2f} %), {report['tokens']:,} tokens; the same next token"
            f" {report['next_token_agreement']:.1%}, KL {report['kl_divergence']:.2e}"
        )
        most = subject.most[artifact.scheme]
        yield Row(f"perplexity through {profile}", measured, f"within {most:g} %", abs(lost) <= most)
    apart = 100 * abs(perplexities[0] / perplexities[1] - 1)
    yield Row("both paths agree", f"{apart:.3f} % apart", "within 0.1 %", apart <= 0.1)


def begun_quality(artifact: Compiled, data: Path, windows: int) -> Iterator[Row]:
    """Hold a model against the float one on windows that begin with a token of their own, read by the prefill."""
    own, other = begun_losses(artifact.folder, artifact.subject.source, data, windows)
    lost, most = 100 * float(np.expm1(own.mean() - other.mean())), artifact.subject.most.get(artifact.scheme)
    spread = 196 * float((own - other).std()) / len(own) ** 0.5
    measured = (
        f"{np.exp(other.mean()):.3f} -> {np.exp(own.mean()):.3f} ({lost:+.2f} +- {spread:.2f} %), {len(own):,} tokens"
    )
    bar = "" if most is None else f"at most {most:g} % more"
    yield Row("perplexity through prefill", measured, bar, None if most is None else lost <= most)


def answers(artifact: Compiled) -> Iterator[Row]:
    """Let it go on from prompts beside the float model; each text that parts from the float model's stands there."""
    found = greedy_answers(artifact.folder, artifact.subject.source, artifact.subject.prompts, ANSWER)
    same = sum(answer.same for answer in found)
    whole = sum(answer.same == ANSWER for answer in found)
    measured = f"{whole} of {len(found)} texts the same, {same / len(found):.1f} tokens until they part"
    yield Row(f"{len(found)} prompts, {ANSWER} tokens each", measured)
    for prompt, answer in zip(artifact.subject.prompts, found, strict=True):
        beside = "float says the same" if answer.same == ANSWER else f"float: {answer.other!r}"
        yield Row(f"{prompt!r}", f"{answer.own!r}; {beside}")


def compiled_parts(artifact: Compiled) -> Row:
    """Hold what the vendor's compiler made, in its simulator, against ONNX Runtime on the same graphs."""
    text = text_ids(artifact.subject)[: artifact.subject.chunk + STEPS].tolist()
    device, reference = stepwise(artifact, text, "device"), stepwise(artifact, text, "cpu")
    closeness = (device * reference).sum(-1) / np.linalg.norm(device, axis=-1) / np.linalg.norm(reference, axis=-1)
    chunk = artifact.subject.chunk
    measured = f"least cosine of logits {closeness[:chunk].min():.6f} and {closeness[chunk:].min():.6f}"
    what = f"compiled parts: prefill, then {STEPS} decode steps"
    return Row(what, measured, "0.999", bool(closeness.min() >= 0.999))


def stepwise(artifact: Compiled, tokens: list[int], engine: Engine) -> Floats:
    """Return logits of a chunk, and of what follows token by token."""
    decoder, chunk = open_decoder(artifact.folder, engine=engine), artifact.subject.chunk
    rows = [decoder.read_all(tokens[:chunk], "prefill")]
    rows += [decoder.read_all([token], "decode") for token in tokens[chunk:]]
    return np.concatenate(rows)


def speed(artifact: Compiled) -> Iterator[Row]:
    """Let it speak on the CPU, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speaking", str(artifact.folder), artifact.subject.prompt, str(SAID)]
    started = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    first, to_first, rate, peak, resident, of_table = json.loads(done.stdout)
    measured = (
        f"cold start {first - started:.2f} s, first token after {to_first:.3f} s, then {rate:.1f} tokens/s,"
        f" peak memory {peak:.0f} MiB"
    )
    yield Row("on the CPU, one thread", measured)
    record = artifact.record
    if record.embedding is not None:
        file = artifact.folder / record.embedding.file
        on_disk = file.stat().st_size / 2**20
        measured = f"{resident:.0f} MiB at the end, of which {file.name} {of_table:.0f} of its {on_disk:.0f} MiB"
        yield Row("resident", measured, "embedding never twice", bool(of_table <= on_disk + 1))
    each, whole = bytes_per_token(record), cache_bytes(record)
    kinds = sorted({cache.dtype if cache.held_as is None else cache.held_as.dtype for cache in record.caches})
    size = sum(path.stat().st_size for path in artifact.folder.rglob("*") if path.is_file())
    yield Row("cache", f"{each:,} bytes a token as {' and '.join(kinds)}, {whole / 1024:.0f} KiB in all")
    took = "" if artifact.seconds is None else f", compiled in {artifact.seconds:.0f} s"
    yield Row("artifact", f"{size / 1e6:.1f} MB{took}")


def dynamic_model(source: Path) -> Callable[[Sequence[int]], Floats]:
    """Return a function from a text to the dynamic model's logits of each token, read at once."""
    model = load(source)
    session, specs, name = Session(source, threads=1, optimize=True), input_specs(model), model.graph.outputs[0].name

    def logits(tokens: Sequence[int]) -> Floats:
        samples, _ = perplexity_samples(specs, np.array([*tokens, 0]), len(tokens))
        return session.run(next(samples), [name or ""])[name or ""][0]

    return logits


def text_ids(subject: Subject) -> NDArray[np.int64]:
    """Return the text to measure with."""
    return np.load(subject.text, allow_pickle=False).reshape(-1).astype(np.int64)


def text_of(artifact: Compiled, row: Row) -> str:
    """Write a row of the table."""
    missed = "**missed:** " if row.is_met is False else ""
    where = f"{artifact.target}, {artifact.scheme}"
    return f"| {artifact.name} | {where} | {row.what} | {row.bar} | {missed}{row.measured} |"


if __name__ == "__main__":
    sys.exit(main())
