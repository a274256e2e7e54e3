"""Runs a graph in ONNX Runtime on the CPU: the one place where sessions are opened."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph.headers import to_proto
from npuopt.graph.queries import graphs_of
from npuopt.graph.saving import save

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import onnx_ir as ir

IN_MEMORY_BYTES = 16 << 20
"""Weights up to which a model is handed over as bytes; above, through a temporary folder with external data."""


class Session:
    """A model opened in ONNX Runtime.

    Args:
        model: a file, or a model in memory.
        optimize: let ONNX Runtime optimize; off by default, so that what is compared is what is written.
        threads: intra-op threads.
        quiet: print nothing about failures, which are raised in any case.
        soonest: run each node as soon as it can run, in the order of the graph; else what is read last may run last.

    Quantized arithmetic is exact: on CPUs without VNNI the default kernels saturate 16-bit sums, which
    `session.x64quantprecision=1` prevents (measured: error 7.17 on values up to 16 without it).

    Raises:
        InputError: when ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        model: Path | ir.Model,
        *,
        optimize: bool = False,
        threads: int = 0,
        quiet: bool = False,
        soonest: bool = False,
    ) -> None:
        runtime: Any = import_module("onnxruntime")  # here, as many commands never open a session; it has no types
        options = runtime.SessionOptions()
        level = runtime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        options.enable_mem_pattern = optimize  # a plan of the first run pays where many follow
        if soonest:
            options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
        options.log_severity_level = 4 if quiet else 3
        options.add_session_config_entry("session.x64quantprecision", "1")
        with _handed_over(model) as source:
            try:
                self._session: Any = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            except Exception as error:
                name = str(model) if isinstance(model, Path) else (model.graph.name or "model")
                raise InputError(f"ONNX Runtime does not load it: {_one_line(error)}", where=name) from error
        self._some = runtime.RunOptions()
        self._some.only_execute_path_to_fetches = True
        self.inputs: tuple[str, ...] = tuple(item.name for item in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(item.name for item in self._session.get_outputs())

    def input_type(self, name: str) -> np.dtype[Any]:
        """Return the numpy element type of an input."""
        kind = next(item.type for item in self._session.get_inputs() if item.name == name)
        inner = kind.removeprefix("tensor(").removesuffix(")")
        return np.dtype({"float": "float32", "double": "float64", "string": "object"}.get(inner, inner))

    def run(self, feeds: Mapping[str, np.ndarray], names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Run once and return the outputs by name.

        Args:
            feeds: arrays by input name; those the model does not have are left out.
            names: the outputs wanted; all when None. Nodes that none of them needs do not run.

        Raises:
            InputError: when an input is missing or does not fit.
        """
        wanted = list(self.outputs if names is None else names)
        missing = [name for name in self.inputs if name not in feeds]
        if missing:
            raise InputError(f"input {missing[0]!r} is missing", hint=f"the model's inputs: {', '.join(self.inputs)}")
        known = {name: feeds[name] for name in self.inputs}
        try:
            results = self._session.run(wanted, known, self._some if len(wanted) < len(self.outputs) else None)
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot run it: {_one_line(error)}") from error
        return dict(zip(wanted, cast("list[np.ndarray]", results), strict=True))


@contextmanager
def _handed_over(model: Path | ir.Model) -> Generator[str | bytes]:
    """Yield what ONNX Runtime opens. A folder for weights goes once they are open: mapped files outlive their names."""
    if isinstance(model, Path):
        yield str(model)
    elif _weight_bytes(model) <= IN_MEMORY_BYTES:
        yield to_proto(model).SerializeToString()
    else:
        with tempfile.TemporaryDirectory(prefix="npuopt-session-") as folder:
            path = Path(folder) / "model.onnx"
            save(model, path, external_data=True)
            yield str(path)


def _weight_bytes(model: ir.Model) -> int:
    tensors = (value.const_value for graph in graphs_of(model) for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]
