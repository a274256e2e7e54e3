"""Limits that integers imposed, put back where tensors are floats again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import Editor, element_type, is_constant, producer
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertClips(Pass):
    """Tensors are limited to what integers held of them.

    `maker -> reader` becomes `maker -> Clip -> reader`. Quantizers drop a Relu or Clip where the integers saturate
    there anyway, so that a model whose QuantizeLinear is gone needs them back.

    Left alone: constants; tensors that are no floats; what is limited already.

    Attributes:
        limits: least and greatest number, by tensor name.
    """

    name: ClassVar[str] = "insert-clips"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Put a Clip behind each tensor."""
        del target  # the limits are the model's own
        report = Report(self.name)
        edit = Editor(model)
        values = {value.name or "": value for node in model.graph for value in node.outputs}
        values.update({value.name or "": value for value in model.graph.inputs})
        for name, (low, high) in self.limits.items():
            value = values.get(name)
            kind = None if value is None else element_type(value)
            if value is None or is_constant(value) or kind is None or not kind.is_floating_point():
                report.declined.append(Entry(name, "tensor", "it is no float that the graph computes"))
            elif _is_limited(value):
                report.declined.append(Entry(name, "tensor", "it is limited already"))
            elif value.uses() or value.is_graph_output():
                _limit(value, low, high, edit)
                report.changed.append(Entry(name, "tensor", f"is between {low:.6g} and {high:.6g}"))
        return report


def _is_limited(value: Value) -> bool:
    """Say whether a Clip makes the value, or is all that reads it."""
    readers = {use.node.op_type for use in value.uses()}
    return producer(value, "Clip") is not None or (readers == {"Clip"} and not value.is_graph_output())


def _limit(value: Value, low: float, high: float, edit: Editor) -> None:
    """Let all that reads `value` read it between the limits."""
    maker, kind = value.producer(), value.dtype
    near = maker if maker is not None else next(iter(edit.model.graph))
    dtype = np.dtype(np.float32) if kind is None else kind.numpy()
    bounds = [edit.constant(np.asarray(one, dtype), near=near, name=f"{value.name}/limit") for one in (low, high)]
    if maker is None:
        first = next(iter(edit.model.graph))
        clipped = edit.emit("Clip", [value, *bounds], before=first, name=value.name or "")
    else:
        clipped = edit.emit_after("Clip", [value, *bounds], after=maker, name=value.name or "")
    clip = clipped.producer()
    edit.replace(value, clipped)
    if clip is not None:
        clip.replace_input_with(0, value)
