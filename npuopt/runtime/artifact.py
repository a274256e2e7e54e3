"""Opens an artifact and runs it, step by step, as the manifest orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from npuopt.bundle import Manifest, Step, read_manifest, read_target, sha256
from npuopt.errors import InputError, UsageError
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.data import open_samples
from npuopt.runtime.steps import StepRunner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.runtime.steps import OnFailure, Told
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
        self,
        samples: Sequence[Arrays],
        *,
        engine: Engine = "device",
        limits: Limits,
        on_failure: OnFailure = "stop",
        told: Told = lambda _: None,
    ) -> list[dict[str, np.ndarray]]:
        """Run every sample and return the model's outputs by name.

        Args:
            samples: inputs by name.
            engine: `device` runs the compiled parts where they can be run (a vendor's simulator, or the host
                itself); `cpu` runs `model.onnx` in ONNX Runtime.
            limits: of each vendor tool run.
            on_failure: `stop` raises what a compiled part fails with; `cpu` runs it in ONNX Runtime from then on.
            told: called for each part that falls to the CPU.

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
        runner = StepRunner(self.folder, self.manifest.steps, target, limits, on_failure=on_failure, told=told)
        made = runner.run(samples)
        wanted = [value.name for value in load(self.folder / MODEL_FILE).graph.outputs]
        return [{name: values[name] for name in wanted if name in values} for values in made]


def run_steps(
    folder: Path, steps: Sequence[Step], samples: Sequence[Arrays], target: Target, limits: Limits
) -> list[dict[str, np.ndarray]]:
    """Run compiled steps in order, all samples through one step before the next, and return all values they made."""
    return StepRunner(folder, steps, target, limits).run(samples)
