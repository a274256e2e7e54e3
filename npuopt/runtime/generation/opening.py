"""Opens an artifact as a language model."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from npuopt.bundle import read_target
from npuopt.delegates.contract import Limits
from npuopt.errors import InputError, UsageError
from npuopt.runtime.artifact import Artifact
from npuopt.runtime.generation.decoder import CachedDecoder
from npuopt.runtime.generation.embedding import Embedding
from npuopt.runtime.generation.engines import CpuEngine, DeviceEngine
from npuopt.runtime.generation.generator import Generator
from npuopt.runtime.generation.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.bundle import LanguageModelRecord
    from npuopt.runtime.generation.escalation import Escalation
    from npuopt.runtime.steps import OnFailure, Told

Engine = Literal["device", "cpu"]
TOKENIZER_FILE = "tokenizer.json"


def open_decoder(
    folder: Path,
    *,
    engine: Engine = "cpu",
    on_failure: OnFailure = "stop",
    told: Told = lambda _: None,
    limits: Limits | None = None,
    threads: int = 0,
) -> CachedDecoder:
    """Open an artifact's model, without a tokenizer.

    Args:
        folder: the artifact.
        engine: `cpu` runs each profile in ONNX Runtime; `device` runs the compiled parts (a vendor's simulator, or
            the host itself).
        on_failure: of a compiled part: `stop`, or `cpu` to run it in ONNX Runtime from then on.
        told: called for each part that falls to the CPU.
        limits: of each vendor tool run.
        threads: of ONNX Runtime; 0: as many as there are cores.

    Raises:
        InputError: when the folder is no artifact of a language model, or is damaged.
        UsageError: when the engine does not exist.
    """
    artifact = Artifact.open(folder)
    record = language_model(artifact)
    embedding = None if record.embedding is None else Embedding(folder, record.embedding)
    if engine == "cpu":
        runs = CpuEngine(folder, threads=threads)
    elif engine == "device":
        runs = DeviceEngine(folder, read_target(folder), limits or Limits(), on_failure=on_failure, told=told)
    else:
        raise UsageError(f"there is no engine {engine!r}", hint="use device or cpu")
    return CachedDecoder(record, runs, embedding, identity=identity(artifact))


def open_generator(
    folder: Path,
    *,
    engine: Engine = "cpu",
    tokenizer: Path | None = None,
    on_failure: OnFailure = "stop",
    told: Told = lambda _: None,
    limits: Limits | None = None,
    threads: int = 0,
    escalation: Escalation | None = None,
) -> Generator:
    """Open an artifact to generate text with; see `open_decoder`.

    Args:
        folder: the artifact.
        engine: what runs it.
        tokenizer: a `tokenizer.json`; the artifact's own where None.
        on_failure: of a compiled part.
        told: called for each part that falls to the CPU.
        limits: of each vendor tool run.
        threads: of ONNX Runtime.
        escalation: asked for text where an answer is doubtful.

    Raises:
        InputError: as `open_decoder`; or the tokenizer does not belong to the model.
    """
    decoder = open_decoder(folder, engine=engine, on_failure=on_failure, told=told, limits=limits, threads=threads)
    own = own_tokenizer(folder, decoder.record)
    if own is None and tokenizer is None:
        raise InputError("the artifact has no tokenizer", where=str(folder), hint="give one with --tokenizer")
    opened = [Tokenizer(path, decoder.vocabulary) for path in (tokenizer, own) if path is not None]
    if len(opened) == 2 and not opened[0].agrees_with(opened[1]):
        raise InputError("does not belong to the model: it numbers other tokens", where=str(tokenizer))
    return Generator(decoder, opened[0], escalation=escalation)


def language_model(artifact: Artifact) -> LanguageModelRecord:
    """Return what an artifact says of its language model, after checking that its files are described.

    Raises:
        InputError: when it is none, or names a file that the manifest does not describe.
    """
    record = artifact.manifest.language_model
    if record is None:
        raise InputError(
            "is no artifact of a language model", where=str(artifact.folder), hint="compile it with --context"
        )
    names = [*record.tokenizer, *(part.model for part in record.parts)]
    if record.embedding is not None:
        names += record.embedding.files
    for part in record.parts:
        files = [name for step in part.steps for name in (step.model, *step.files)]
        names += [str(PurePosixPath(part.folder, name)) for name in files]
    unknown = [name for name in names if name not in artifact.manifest.files]
    if unknown:
        what = f"the language model needs {unknown[0]}, which the manifest does not describe"
        raise InputError(what, where=str(artifact.folder), hint="compile again")
    return record


def own_tokenizer(folder: Path, record: LanguageModelRecord) -> Path | None:
    """Return the tokenizer inside the artifact."""
    found = (name for name in record.tokenizer if PurePosixPath(name).name == TOKENIZER_FILE)
    name = next(found, None)
    return None if name is None else folder / name


def identity(artifact: Artifact) -> str:
    """Return a hash of everything that decides what an artifact computes: its files and its record, not its dates."""
    record = artifact.manifest.language_model
    described = {
        "files": {name: file.sha256 for name, file in sorted(artifact.manifest.files.items())},
        "language_model": None if record is None else record.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
