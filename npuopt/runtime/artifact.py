"""Opens an artifact and runs it, step by step, as the manifest orders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from npuopt.bundle import Manifest, Step, read_manifest, read_target, sha256
from npuopt.delegates.contract import CompiledRegion, Limits
from npuopt.delegates.registry import find_delegate
from npuopt.errors import InputError, UsageError
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.data import open_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.target import Target

    Arrays = Mapping[str, np.ndarray]

Engine = Literal["device", "cpu"]
MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class Artifact:
    """An artifact whose manifest was read and whose files are what the manifest says."""

    folder: Path
    manifest: Manifest

    @staticmethod
    def open(folder: Path) -> Artifact:
        """Open an artifact and check every file's size and hash.

        Raises:
            InputError: when the folder is no artifact, or a file is missing, was changed, or is not described.
        """
        manifest = read_manifest(folder)
        root = folder.resolve()
        for name, record in manifest.files.items():
            path = (folder / name).resolve()
            if not path.is_relative_to(root):
                raise InputError("leads out of the artifact", where=str(folder / name))
            if not path.is_file():
                raise InputError("is missing", where=str(path), hint="compile again")
            if path.stat().st_size != record.bytes or sha256(path) != record.sha256:
                raise InputError("is not the file that the manifest describes", where=str(path), hint="compile again")
        for step in manifest.steps:
            for name in (step.model, *step.files):
                if name not in manifest.files:
                    raise InputError(
                        f"step {step.name} needs {name}, which the manifest does not describe",
                        where=str(folder),
                        hint="compile again",
                    )
        return Artifact(folder, manifest)

    def samples(self, path: Path) -> list[dict[str, np.ndarray]]:
        """Read inputs from a `.npz` whose arrays' leading axis counts samples.

        Raises:
            InputError: when an input is missing or does not fit.
        """
        return [dict(sample) for sample in open_samples(path, load(self.folder / MODEL_FILE))]

    def run(
        self, samples: Sequence[Arrays], *, engine: Engine = "device", limits: Limits
    ) -> list[dict[str, np.ndarray]]:
        """Run every sample and return the model's outputs by name.

        Args:
            samples: inputs by name.
            engine: `device` runs the compiled parts where they can be run (a vendor's simulator, or the host
                itself); `cpu` runs `model.onnx` in ONNX Runtime.
            limits: of each vendor tool run.

        Raises:
            InputError: when an input is missing or does not fit.
            UsageError: when the engine does not exist.
        """
        if engine not in ("device", "cpu"):
            raise UsageError(f"there is no engine {engine!r}", hint="use device or cpu")
        if engine == "cpu":
            session = Session(self.folder / MODEL_FILE)
            return [session.run(sample) for sample in samples]
        target = read_target(self.folder)
        return run_steps(self.folder, self.manifest.steps, samples, target, limits)


def run_steps(
    folder: Path, steps: Sequence[Step], samples: Sequence[Arrays], target: Target, limits: Limits
) -> list[dict[str, np.ndarray]]:
    """Run compiled steps in order, all samples through one step before the next, and return all values they made."""
    values: list[dict[str, np.ndarray]] = [dict(sample) for sample in samples]
    made: set[str] = set()
    for step in steps:
        missing = [name for name in step.inputs if name not in values[0]] if values else []
        if missing:
            raise InputError(
                f"input {missing[0]!r} is missing", hint=f"step {step.name} reads {', '.join(step.inputs)}"
            )
        feeds = [{name: known[name] for name in step.inputs} for known in values]
        made_in = PurePosixPath(step.road, step.name)  # as compile lays it out
        files = tuple(str(PurePosixPath(file).relative_to(made_in)) for file in step.files)
        region = CompiledRegion(step.road, folder / made_in, files, figures=step.figures)
        for known, outputs in zip(
            values, find_delegate(step.road).run(region, feeds, target, limits=limits), strict=True
        ):
            known.update(outputs)
        made.update(step.outputs)
    return [{name: array for name, array in known.items() if name in made} for known in values]
