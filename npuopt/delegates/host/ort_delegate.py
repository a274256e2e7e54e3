"""The ONNX Runtime road: a region stays an ONNX model and runs on the CPU."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from npuopt.delegates.contract import CompiledRegion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits, Runner
    from npuopt.target import Target


class OrtDelegate:
    """Keeps regions as ONNX models and runs them with ONNX Runtime's CPU kernels, quantized arithmetic exact."""

    road: ClassVar[str] = "ort"
    not_probed: ClassVar[str] = "ONNX Runtime's own numbers are what every other compiler is held against"

    def ensure_available(self) -> None:
        """Do nothing: ONNX Runtime is always installed with npuopt."""

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Open the model once, so that it is known to load; it runs where it lies, and `folder` stays empty.

        Raises:
            InputError: ONNX Runtime does not load the model.
        """
        del folder, target, limits  # any CPU runs it, in this process
        from npuopt.graph import Session  # noqa: PLC0415 -- onnxruntime is heavy

        Session(model)
        files, held = _weight_files(model)
        figures = {"model_bytes": model.stat().st_size + held}
        tools = {"onnxruntime": version("onnxruntime")}
        return CompiledRegion(self.road, model.parent, (model.name, *files), figures=figures, tools=tools)

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
        return self.open(region)(samples)

    def open(self, region: CompiledRegion) -> Runner:
        """Open the region, in little memory; see `open_lean`.

        Raises:
            InputError: ONNX Runtime does not load it; or, when it runs, a sample does not fit.
        """
        from npuopt.graph.lean import open_lean  # noqa: PLC0415 -- onnxruntime is heavy

        session = open_lean(region.folder / region.files[0])
        return lambda samples: [session.run(sample) for sample in samples]


def _weight_files(model: Path) -> tuple[list[str], int]:
    """Return the files beside a model that hold weights of it, and the bytes of its weights there, each once."""
    from npuopt.graph import load  # noqa: PLC0415 -- onnx is heavy
    from npuopt.graph.mapped import InFile  # noqa: PLC0415
    from npuopt.graph.queries import graphs_of  # noqa: PLC0415

    places: dict[tuple[str, int], int] = {}
    for graph in graphs_of(load(model)):
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, InFile) and tensor.source.path != model:
                places[tensor.source.path.relative_to(model.parent.resolve()).as_posix(), tensor.offset] = tensor.length
    return sorted({name for name, _ in places}), sum(places.values())
