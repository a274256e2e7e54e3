"""Clips of integers for compilers that leave them to the saturation of the result's encoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from npuopt.graph import Editor, input_at, is_op, label, producer, scalar, users
from npuopt.passes.quantize.quantize_pairs import QuantizePairs
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.arithmetic import affine, quantize
from npuopt.quantization.encodings import Encoding, per_tensor
from npuopt.quantization.node_encoding import encoding_at

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target

QUANTIZE = "QuantizeLinear"


@dataclass(frozen=True)
class SplitClips(Pass):
    """A Clip of integers whose encoding goes beyond its bounds becomes Max and Min.

    `DequantizeLinear -> Clip -> QuantizeLinear` becomes `DequantizeLinear -> Max -> QuantizeLinear ->
    DequantizeLinear -> Min -> QuantizeLinear`, all results in the encoding that the Clip's has; a bound at which this
    encoding ends anyway goes away. Numbers stay the same.

    Left alone: all Clips, unless the target says that it leaves them to saturation (`quantization.saturates`); those
    whose encoding ends at their bounds; those beside floats; bounds that are not constant; subgraphs.
    """

    name: ClassVar[str] = "split-clips"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Split every Clip that the target would leave out."""
        report = Report(self.name)
        rule = None if target is None else target.rule("Clip")
        if rule is None or not rule.quantization.saturates:
            return report
        edit = Editor(model)
        pairs = QuantizePairs(edit)
        for clip in [node for node in model.graph if is_op(node, "Clip")]:
            encoding = _encoding_behind(clip)
            if encoding is None:
                continue
            bounds = _bounds_within(clip, encoding)
            if bounds:
                _split(clip, bounds, encoding, edit, pairs)
                ops = " and ".join(op for op, _ in bounds)
                low, high = encoding.range
                report.changed.append(
                    Entry(label(clip), "Clip", f"is {ops}, as integers go from {low:.6g} to {high:.6g}")
                )
        return report


def _encoding_behind(clip: Node) -> Encoding | None:
    """Return the encoding of the result of a Clip between integers, None for others."""
    readers = users(clip.outputs[0])
    if producer(input_at(clip, 0), "DequantizeLinear") is None or [one.op_type for one in readers] != [
        "QuantizeLinear"
    ]:
        return None
    encoding = encoding_at(readers[0])
    return encoding if isinstance(encoding, Encoding) and encoding.axis is None else None


def _bounds_within(clip: Node, encoding: Encoding) -> list[tuple[str, float]]:
    """Return op and bound of each constant bound beyond which the encoding still has integers."""
    low, high = scalar(input_at(clip, 1)), scalar(input_at(clip, 2))
    first, last = encoding.range
    slack = 0.51 * max(encoding.scale)  # the half step by which moving zero to an integer shifts the ends
    found: list[tuple[str, float]] = []
    if low is not None and first < low - slack:
        found.append(("Max", low))
    if high is not None and last > high + slack:
        found.append(("Min", high))
    return found


def _split(clip: Node, bounds: list[tuple[str, float]], encoding: Encoding, edit: Editor, pairs: QuantizePairs) -> None:
    value, made = cast("Value", clip.inputs[0]), clip.outputs[0]
    for index, (op, bound) in enumerate(bounds):
        if index:
            value = pairs.between(value, encoding, reader=clip)
        own = per_tensor(encoding.dtype, *affine(bound, bound, encoding.dtype)) if bound else encoding
        array = quantize(np.asarray(bound, np.float32), own)
        held = edit.constant(array, near=clip, name=f"{made.name}/{op.lower()}")
        operand = pairs.dequantized(held, own, made, before=clip)
        value = edit.emit(op, [value, operand], before=clip, name=made.name or "")
    edit.replace_node(clip, value)
