"""The host's part in ONNX Runtime: what no device takes runs on the CPU as it is."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

from npuopt.delegates.contract import CompiledRegion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target


class OrtDelegate:
    """Runs a part on the CPU with ONNX Runtime, which is always installed."""

    road: ClassVar[str] = "ort"

    def ensure_available(self) -> None:
        """Do nothing: ONNX Runtime is a core dependency."""

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Copy the model, and its external data if it has any, into `folder`; it must load.

        Raises:
            InputError: when ONNX Runtime does not load it.
        """
        del target, limits  # nothing is run but a loader in this process
        from npuopt.graph import Session  # noqa: PLC0415 -- heavy; the registry imports this module

        for source in sorted(model.parent.iterdir()):
            shutil.copyfile(source, folder / source.name)
        Session(folder / model.name)
        tools = {"onnxruntime": version("onnxruntime")}
        return CompiledRegion(self.road, folder, (model.name,), tools=tools)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run every sample on the CPU."""
        del target, limits
        from npuopt.graph import Session  # noqa: PLC0415 -- as above

        session = Session(region.folder / region.files[0])
        return [session.run(sample) for sample in samples]
