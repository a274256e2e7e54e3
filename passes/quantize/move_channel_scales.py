"""Moves a factor for each channel out of what makes the channels, into what reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Editor, constant, input_at, users
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.channels.cancelling import left_over
from npuopt.quantization.channels.joint import EVENED, times_channels, times_features
from npuopt.quantization.channels.joints import joint_at, obstacle

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.channels.joint import Joint
    from npuopt.target import Target

MOVED = "npuopt.channel_scales"
"""Annotation of the weight of a layer whose channels were divided: a digest of the factors, not to be moved twice."""


@dataclass(frozen=True)
class MoveChannelScales(Pass):
    """Divide what a layer makes by a factor for each channel, and let the layers that read it multiply by it.

    `MatMul(RMSNormalization(x, g), W) -> MatMul(RMSNormalization(x, g / s), s * W)`; likewise from one linear layer
    to the next, through Relu, products with other tensors, biases, pooling, attention, and what only moves numbers;
    and from one operand of a product to the other, `(q S) (S^-1 k)`, where both sides' factors cancel.
    The same numbers come out, up to the rounding of floats; those in between have ranges that suit integers better.

    Left alone: channels that also go where no factor passes, into a graph output, or that too few numbers are added
    to; weights with other readers, which would be kept twice (short scales of normalizations are copied); operands of
    products whose factors do not cancel, and channels with factors of their own that are added to one another.

    Attributes:
        scales: the factors by the name of what the layer makes, one for each channel, positive and finite.
        evens: the factors are to give channels one range: their tensors are annotated, and get some room to spare.
    """

    name: ClassVar[str] = "move-channel-scales"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-static"})

    scales: Mapping[str, Any] = field(default_factory=dict[str, Any])
    evens: bool = False

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Move the factors of each layer that has any."""
        del target  # what is exact is so everywhere
        report = Report(self.name)
        edit = Editor(model)
        found: dict[str, tuple[Joint, np.ndarray]] = {}
        for node in list(model.graph) if self.scales else ():
            name = node.outputs[0].name or ""
            if name not in self.scales:
                continue
            factors = np.asarray(self.scales[name], np.float64).reshape(-1)
            joint = joint_at(node, model)
            why = "no linear layer reads its channels" if joint is None else obstacle(joint)
            if joint is not None and cast("Value", node.inputs[1]).metadata_props.get(MOVED) == _digest(factors):
                why = "its factors were moved before"
            if joint is None or why:
                report.declined.append(Entry(name, node.op_type, why))
                continue
            _require_usable(factors, joint)
            found[name] = joint, factors
        for name, why in left_over(found).items():
            report.declined.append(Entry(name, found.pop(name)[0].maker.op_type, why))
        for name, (joint, factors) in found.items():
            _move(joint, factors, edit)
            for value in joint.values if self.evens else ():
                value.metadata_props[EVENED] = name
            cast("Value", joint.maker.inputs[1]).metadata_props[MOVED] = _digest(factors)
            spread = f"factors {factors.min():.3g} to {factors.max():.3g}"
            count = len(joint.readers) + len(joint.products)
            report.changed.append(Entry(name, joint.maker.op_type, f"{spread} into {count} readers"))
        return report


def _digest(factors: np.ndarray) -> str:
    return hashlib.sha256(factors.tobytes()).hexdigest()[:16]


def _require_usable(factors: np.ndarray, joint: Joint) -> None:
    """Raise InputError unless there is one positive number for each channel."""
    if len(factors) != joint.count:
        raise InputError(f"{len(factors)} factors were given for {joint.count} channels", where=joint.name)
    if not (np.isfinite(factors).all() and (factors > 0).all()):
        raise InputError("a factor of a channel is not a positive number", where=joint.name)


def _move(joint: Joint, factors: np.ndarray, edit: Editor) -> None:
    maker = joint.maker
    for index in (1, 2):
        value = input_at(maker, index)
        if value is not None:
            array = cast("np.ndarray", constant(value))
            shaped = times_channels(maker, array, 1 / factors) if index == 1 else _divided_bias(array, factors)
            _replace(maker, index, shaped, edit)
    for shift in joint.shifts:
        array = cast("np.ndarray", constant(shift.node.inputs[shift.index]))
        _replace(shift.node, shift.index, array / factors[shift.channels], edit)
    for reader in joint.readers:
        array = cast("np.ndarray", constant(reader.node.inputs[1]))
        _replace(reader.node, 1, times_features(reader.node, array, factors[reader.channels]), edit)


def _divided_bias(bias: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return a maker's bias, whose last axis (or only number) is for the channels, divided by the factors."""
    return bias / factors


def _replace(node: Node, index: int, array: np.ndarray, edit: Editor) -> None:
    """Let the node read `array` instead of its constant, which goes when nobody else reads it."""
    old = cast("Value", node.inputs[index])
    kind = cast("np.ndarray", constant(old)).dtype
    node.replace_input_with(index, edit.constant(array.astype(kind), near=node, name=f"{old.name}/rescaled"))
    if not users(old) and not old.is_graph_output():
        edit.model.graph.initializers.pop(old.name or "", None)
