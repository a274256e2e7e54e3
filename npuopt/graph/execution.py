"""Runs a graph in ONNX Runtime on the CPU: the one place where sessions are opened."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph.headers import to_proto
from npuopt.graph.held_weights import hand_over, lies_in_files, multiplies_integers
from npuopt.graph.queries import graphs_of
from npuopt.graph.saving import save

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import onnx_ir as ir

IN_MEMORY_BYTES = 16 << 20
"""Weights up to which a model is handed over as bytes; above, they stay in their files or go through a folder."""

COPIES_WEIGHTS = "QDQS8ToU8Transformer"
"""ONNX Runtime's rewriting of signed constants as unsigned ones, which makes a copy of them in each session."""

MOST_AT_ONCE = 4
"""Samples that are run side by side at most: each holds activations of its own."""


def side_by_side(samples: int | None, threads: int = 0) -> int:
    """Return how many of so many samples to run at a time, None for very many: at most one for each thread.

    One thread for each sample costs less than many threads that share one: none waits for the others after each
    node. Measured on a 110-million-parameter encoder of 128 tokens on two cores: 0.25 s of CPU time instead of 0.41.

    Args:
        samples: how many there are.
        threads: how many threads there may be, 0 for OMP_NUM_THREADS, else one for each core.
    """
    most = min(threads or _threads_asked_for() or _cores(), MOST_AT_ONCE)
    return most if samples is None else max(1, min(most, samples))


class Session:
    """A model opened in ONNX Runtime.

    Args:
        model: a file, or a model in memory.
        optimize: let ONNX Runtime optimize; off by default, so that what is compared is what is written.
        threads: of the runtime in all, 0 for OMP_NUM_THREADS, else one for each core.
        at_once: how many samples `run_each` runs side by side, which share the threads.
        quiet: print nothing about failures, which are raised in any case.
        soonest: run each node as soon as it can run, in the order of the graph; else what is read last may run last.
        lean: take little memory: constants of a model in memory stay in their files, once for all sessions of the
            process, and what a run needs is given back after it.

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
        at_once: int = 1,
        quiet: bool = False,
        soonest: bool = False,
        lean: bool = False,
    ) -> None:
        self.at_once = at_once
        runtime: Any = import_module("onnxruntime")  # here, as many commands never open a session; it has no types
        options = runtime.SessionOptions()
        level = runtime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        threads = threads or _threads_asked_for()
        options.intra_op_num_threads = threads if at_once == 1 else max(1, (threads or _cores()) // at_once)
        options.enable_mem_pattern = optimize  # a plan of the first run pays where many follow
        if soonest:
            options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
        options.log_severity_level = 4 if quiet else 3
        options.add_session_config_entry("session.x64quantprecision", "1")
        options.enable_cpu_mem_arena = not lean
        stay = lean and not isinstance(model, Path) and not multiplies_integers(model)
        unwanted = [COPIES_WEIGHTS] if stay else None
        with _handed_over(model, options, lean=lean) as (source, self._held):
            try:
                self._session: Any = runtime.InferenceSession(
                    source, options, providers=["CPUExecutionProvider"], disabled_optimizers=unwanted
                )
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

    def run_each(self, samples: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Run samples, `at_once` of them side by side; return the outputs of each, in their order.

        Raises:
            InputError: when an input is missing or does not fit.
        """
        if self.at_once == 1 or len(samples) == 1:
            return [self.run(sample) for sample in samples]
        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(self.run, samples))


@contextmanager
def _handed_over(
    model: Path | ir.Model,
    options: Any,  # noqa: ANN401 -- ONNX Runtime has no types
    *,
    lean: bool,
) -> Generator[tuple[str | bytes, list[Any]]]:
    """Yield what ONNX Runtime opens, and what must live as long as the session.

    Large constants of a model in memory are read from the files that they lie in, or else through a folder for weights.
    The folder goes once they are open: mapped files outlive their names.

    Args:
        model: what is opened.
        options: those of the session, which learn where constants lie.
        lean: leave the constants of a model in memory in their files.
    """
    if isinstance(model, Path):
        yield str(model), []
    elif lean:
        yield hand_over(model, options, shared=True)
    elif _weight_bytes(model) <= IN_MEMORY_BYTES:
        yield to_proto(model).SerializeToString(), []
    elif lies_in_files(model, elsewhere=IN_MEMORY_BYTES):
        yield hand_over(model, options, shared=False)
    else:
        with tempfile.TemporaryDirectory(prefix="npuopt-session-") as folder:
            path = Path(folder) / "model.onnx"
            save(model, path, external_data=True)
            yield str(path), []


def _weight_bytes(model: ir.Model) -> int:
    tensors = (value.const_value for graph in graphs_of(model) for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _threads_asked_for() -> int:
    """Return OMP_NUM_THREADS, by which numpy and torch are told what share of the machine they have, or 0."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), _cores()) if asked.isascii() and asked.isdecimal() and len(asked) <= 4 else 0


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:600]
