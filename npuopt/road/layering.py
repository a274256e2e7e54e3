"""Compares what each layer of a compiled region makes in the vendor's simulator with ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.bundle import Stage
from npuopt.delegates.contract import LayerReader
from npuopt.delegates.registry import find_delegate
from npuopt.errors import VendorToolError
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.road.compilation import stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.road.compilation import CompiledPlan
    from npuopt.target import Target

    Arrays = Mapping[str, np.ndarray]


def layer_stages(
    folder: Path, compiled: CompiledPlan, sample: Arrays, values: Arrays, target: Target, limits: Limits
) -> list[Stage]:
    """Compare the layers of every region whose delegate shows them, on one sample.

    Args:
        folder: the artifact's.
        compiled: its parts.
        sample: the model's inputs.
        values: what the steps made of it.
        target: what they were compiled for.
        limits: of each vendor tool run.
    """
    stages: list[Stage] = []
    known = {**sample, **values}
    for step in compiled.steps:
        delegate = find_delegate(step.road)
        if step.kind != "npu" or not isinstance(delegate, LayerReader):
            continue
        name, feeds = f"layers of {step.name}", {name: known[name] for name in step.inputs}
        try:
            made = delegate.run_layers(compiled.regions[step.name], feeds, target, limits=limits)
        except VendorToolError as error:
            stages.append(Stage(name=name, against=step.model, samples=0, outputs={}, skipped=str(error), inner=True))
            continue
        reference = _inner_values(folder / step.model, feeds, made)
        stages.append(stage(name, step.model, [reference], [made]).model_copy(update={"inner": True}))
    return stages


def _inner_values(path: Path, feeds: Arrays, wanted: Arrays) -> dict[str, np.ndarray]:
    model = load(path)
    model.graph.outputs.extend(
        value for node in model.graph for value in node.outputs if value.name in wanted and not value.is_graph_output()
    )
    return Session(model).run(feeds, list(wanted))
