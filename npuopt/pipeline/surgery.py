"""A user's onnx-graphsurgeon function as a pass."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from npuopt.graph import fingerprint
from npuopt.pipeline.contract import Pass
from npuopt.pipeline.report import Entry, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class Surgery(Pass):
    """Runs a function that was written for onnx-graphsurgeon.

    It may change anything, the graph's inputs and outputs included; what it leaves must be a valid model.
    """

    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known", "shapes-static", "constants-folded"})
    keeps_interface: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def operate(graph: Any) -> Any:  # noqa: ANN401 -- a gs.Graph, which has no type hints
        """Change the `gs.Graph`, or return another one."""

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Run the function on the model."""
        from npuopt.graph.surgery import run_surgery  # noqa: PLC0415 -- imports onnx-graphsurgeon, which few runs need

        del target
        report = Report(self.name)
        before = fingerprint(model, contents=False)
        run_surgery(model, self.operate)
        if fingerprint(model, contents=False) != before:
            report.changed.append(Entry(model.graph.name or "graph", "Graph", f"changed by {self.name}"))
        return report


def surgeries_in(module: ModuleType) -> Iterator[type[Surgery]]:
    """Yield a pass for each public function of a module whose only parameter is annotated `gs.Graph`."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and not name.startswith("_") and _takes_gs_graph(function):
            yield _pass_of(name.replace("_", "-"), function)


def _pass_of(name: str, function: Callable[[Any], Any]) -> type[Surgery]:
    body: dict[str, object] = {
        "name": name,
        "operate": staticmethod(function),
        "__doc__": inspect.getdoc(function) or f"The onnx-graphsurgeon function {function.__name__}.",
        "__module__": function.__module__,
    }
    return cast("type[Surgery]", type(function.__name__, (Surgery,), body))


def _takes_gs_graph(function: Callable[..., object]) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 1:
        return False
    annotation = parameters[0].annotation
    text = annotation if isinstance(annotation, str) else f"{getattr(annotation, '__module__', '')}.Graph"
    is_class = isinstance(annotation, type) and annotation.__name__ == "Graph"
    return text in ("gs.Graph", "onnx_graphsurgeon.Graph") or (is_class and text.startswith("onnx_graphsurgeon."))
