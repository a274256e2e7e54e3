"""The ONNX Runtime road: a region stays an ONNX model and runs on the CPU."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from npuopt.delegates.contract import CompiledRegion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target

MODEL_FILE = "model.onnx"
OUTSIDE_BYTES = 1 << 30
"""Weights from which on they get a file of their own: a protobuf file ends at 2 GiB."""


class OrtDelegate:
    """Keeps regions as ONNX models and runs them with ONNX Runtime's CPU kernels, quantized arithmetic exact."""

    road: ClassVar[str] = "ort"

    def ensure_available(self) -> None:
        """Do nothing: ONNX Runtime is always installed with npuopt."""

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write the model into `folder` in one piece and open it once, so that what is written is known to load.

        Raises:
            InputError: ONNX Runtime does not load the model.
        """
        del target, limits  # any CPU runs it, in this process
        from npuopt.graph import Session, load, save  # noqa: PLC0415 -- onnx and onnxruntime are heavy

        loaded = load(model)
        weights = sum(value.const_value.nbytes for value in loaded.graph.initializers.values() if value.const_value)
        path = folder / MODEL_FILE
        save(loaded, path, external_data=weights > OUTSIDE_BYTES)
        Session(path)
        files = tuple(sorted((item.name for item in folder.iterdir()), key=lambda name: name != MODEL_FILE))
        figures = {"model_bytes": sum(item.stat().st_size for item in folder.iterdir())}
        return CompiledRegion(self.road, folder, files, figures=figures, tools={"onnxruntime": version("onnxruntime")})

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the region once a sample.

        Raises:
            InputError: a sample does not fit.
        """
        del target, limits
        from npuopt.graph import Session  # noqa: PLC0415

        session = Session(region.folder / region.files[0], optimize=True)
        return [session.run(sample) for sample in samples]
