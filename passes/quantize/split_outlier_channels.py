"""Splits input channels with outlying weights into copies that share the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Editor, constant, input_at, static_shape
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.channels.outliers import data_axis, refusal, split_weight, weight_axis

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target

    Copies = dict[tuple[Value, int, tuple[int, ...]], Value]

SPLIT = "npuopt.split_channels"
"""Annotation of a weight whose channels were split, not to be split twice."""


@dataclass(frozen=True)
class SplitOutlierChannels(Pass):
    """Read some input channels of a layer twice, with half of their weights each time.

    `MatMul(x, W) -> MatMul(Gather(x, [0, 1, ..., c]), [W with half of row c; half of row c])`

    The same numbers come out, up to the order of sums; the weights' range shrinks to where most of them are. Layers
    that read one tensor and split the same channels share the Gather.

    Left alone: weights with other readers, grouped convolutions, and where the target does not take the Gather.

    Attributes:
        channels: which channels get a copy, by the name of what the layer makes; one named twice gets two.
    """

    name: ClassVar[str] = "split-outlier-channels"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-static"})

    channels: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Split the channels of each layer that has any to split."""
        report = Report(self.name)
        edit = Editor(model)
        copies: Copies = {}
        for node in list(model.graph) if self.channels else ():
            name = node.outputs[0].name or ""
            given = self.channels.get(name)
            if not given:
                continue
            why = refusal(node)
            if why == "" and SPLIT in cast("Value", node.inputs[1]).metadata_props:
                why = "its channels were split before"
            if not why and why is not None:
                why = _split(node, _checked(node, given), edit, target, copies)
            if why or why is None:
                report.declined.append(Entry(name, node.op_type, why or "no linear layer with constant weights"))
            else:
                report.changed.append(Entry(name, node.op_type, f"{len(given)} channels split"))
        return report


def _checked(node: Node, given: Any) -> tuple[int, ...]:  # noqa: ANN401 -- an option, as a file or a caller has it
    """Return the channels; raise InputError where the layer does not have them."""
    count = (static_shape(input_at(node, 1)) or ())[weight_axis(node)]
    wrong = [item for item in given if not isinstance(item, int) or not 0 <= item < count]
    if wrong:
        raise InputError(f"{wrong[0]!r} is none of its {count} input channels", where=node.outputs[0].name or "")
    return tuple(given)


def _split(node: Node, channels: tuple[int, ...], edit: Editor, target: Target | None, copies: Copies) -> str:
    """Split a layer's channels; return why not where the target is against it."""
    source, weight = cast("Value", node.inputs[0]), cast("Value", node.inputs[1])
    axis = data_axis(node)
    key = (source, axis, channels)
    if key not in copies:
        index = np.append(np.arange((static_shape(source) or ())[axis]), channels).astype(np.int64)
        held = edit.constant(index, near=node, name=f"{source.name}/channels")
        made = edit.emit("Gather", [source, held], {"axis": axis}, before=node)
        gather = cast("Node", made.producer())
        if target is not None and not (verdict := target.accepts(gather)):
            edit.erase(gather)
            edit.model.graph.initializers.pop(held.name or "", None)
            return f"the Gather would be refused: {verdict.reasons[0]}"
        copies[key] = made
    array = split_weight(cast("np.ndarray", constant(weight)), weight_axis(node), channels)
    new = edit.constant(array, near=node, name=f"{weight.name}/split")
    new.metadata_props[SPLIT] = str(len(channels))
    node.replace_input_with(0, copies[key])
    node.replace_input_with(1, new)
    if not weight.uses() and not weight.is_graph_output():
        edit.model.graph.initializers.pop(weight.name or "", None)
    return ""
