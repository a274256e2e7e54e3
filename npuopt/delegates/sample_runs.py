"""Runs samples through a vendor's runtime or simulator, all in one child process."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuopt.delegates.arrays import SampleFiles
from npuopt.delegates.process import run_child
from npuopt.delegates.samples import check_sample, run_time_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import onnx

    from npuopt.delegates.contract import Limits


@dataclass(frozen=True)
class SampleRunner:
    """A worker that runs samples.

    Attributes:
        title: what runs them, as the start of a sentence.
        worker: the file that the child runs; it takes arrays by position and knows their names as `names`.
        python: the interpreter for it.
    """

    title: str
    worker: Path
    python: str = sys.executable

    def run(
        self,
        request: Mapping[str, Any],
        header: onnx.ModelProto,
        samples: Sequence[Mapping[str, np.ndarray]],
        *,
        where: str,
        limits: Limits,
    ) -> tuple[list[dict[str, np.ndarray]], Mapping[str, Any]]:
        """Return what came out of every sample, and what the worker said.

        Outputs have the names of the worker's `outputs`, where it tells them, else of the model's, in their order.

        Args:
            request: what the worker is told besides the samples; `folder` is a scratch folder unless it names one.
            header: the model, whose inputs the samples must fit.
            samples: arrays by the names of these inputs.
            where: the region or model, for messages.
            limits: of the child.

        Raises:
            InputError: a sample does not fit.
            VendorToolError: the child failed.
        """
        inputs = run_time_inputs(header)
        for sample in samples:
            check_sample(sample, inputs)
        names = [value.name for value in inputs]
        with tempfile.TemporaryDirectory(prefix="npuopt-run-") as scratch:
            files = SampleFiles.write(Path(scratch), ([sample[name] for name in names] for sample in samples))
            told = {"folder": scratch, "names": names, **request, **files.request}
            child = run_child(self.worker, told, log=Path(scratch) / "run.log", limits=limits, python=self.python)
            answer = child.require(self.title, where=where)
            made = answer.get("outputs", [value.name for value in header.graph.output])
            return [dict(zip(made, arrays, strict=True)) for arrays in files.results()], answer
