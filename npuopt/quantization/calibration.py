"""Runs calibration samples through the float model and keeps the range of every float tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import element_type, is_constant, is_op, label, nodes
from npuopt.quantization.looking import Looker
from npuopt.quantization.methods import MinMax, method_text
from npuopt.quantization.ranges import Range, Ranges
from npuopt.quantization.taps import TAP_BYTES
from npuopt.quantization.watches import Watch, feature_axes, softmax_axes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.data import Samples
    from npuopt.quantization.methods import Method

    Progress = Callable[[int, int | None], None]


SAME_NUMBERS = ("Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Ops whose output holds the numbers of input 0 and no others: they need no look of their own."""


def calibrate(
    model: Model,
    samples: Samples,
    method: Method | None = None,
    *,
    progress: Progress | None = None,
    tap_bytes: int = TAP_BYTES,
    threads: int = 0,
) -> Ranges:
    """Find the range of every float tensor of the main graph that is no constant, in one pass of inference.

    Memory holds the weights, one sample, and what the method remembers of each tensor; for methods that look at all
    numbers also at most `tap_bytes` of activations (or the largest one). It does not grow with the samples.

    Args:
        model: the float model; it comes back as it was.
        samples: read once.
        method: how ranges are found; least and greatest number when None.
        progress: called after each sample with the samples done and the total, None when unknown.
        tap_bytes: bytes of activations that are looked at as a whole at a time.
        threads: threads of the runtime, 0 for all cores.

    Raises:
        InputError: when a sample does not fit, or makes the model compute NaN.
    """
    method = method or MinMax()
    watches = {value.name or "": Watch(value, method) for value in _watched(model)}
    inputs = {value.name or "" for value in model.graph.inputs}.intersection(watches)
    looks = [watch.look(whole=method.needs_numbers) for name, watch in watches.items() if name not in inputs]
    looker = Looker(model, looks, limit=tap_bytes, threads=threads)
    done = 0
    for sample in samples:
        for name in inputs:
            watches[name].take(sample[name])
        for name, seen in looker.look(sample):
            watches[name].take(seen)
        done += 1
        if progress is not None:
            progress(done, samples.count)
    return _ranges(model, watches, method_text(method), done)


def _ranges(model: Model, watches: dict[str, Watch], method: str, samples: int) -> Ranges:
    """Put together what the watches saw."""
    ranges = {name: watch.range() for name, watch in watches.items()}
    moved = _moved(model, ranges)
    ranges.update({name: _alone(ranges[source]) for name, source in moved.items()})

    def fitted(name: str, levels: int, symmetric: bool) -> Range:
        if name in moved:
            return _alone(watches[moved[name]].range(levels, symmetric=symmetric))
        return watches[name].range(levels, symmetric=symmetric)

    means = {name: found for name, watch in watches.items() if (found := watch.means())}
    return Ranges(ranges, method, samples, means, fitted)


def float_values(model: Model) -> list[Value]:
    """List the float tensors of the main graph that are no constants: graph inputs, then node outputs in order."""
    made = [output for node in model.graph for output in node.outputs if output.name]
    return [
        value
        for value in (*model.graph.inputs, *made)
        if not is_constant(value) and (kind := element_type(value)) is not None and kind.is_floating_point()
    ]


def _watched(model: Model) -> list[Value]:
    """List the tensors whose numbers have to be looked at."""
    return [
        value
        for value in float_values(model)
        if softmax_axes(value) or feature_axes(value) or not _repeats(value.producer())
    ]


def _repeats(node: Node | None) -> bool:
    """Say whether the node's output has the range of its input 0, which is looked at instead."""
    return node is not None and is_op(node, *SAME_NUMBERS) and not is_constant(node.inputs[0])


def _moved(model: Model, known: Collection[str]) -> dict[str, str]:
    """Return which looked-at tensor's numbers the outputs of ops that only move numbers hold, by their names."""
    moved: dict[str, str] = {}
    for node in nodes(model, *SAME_NUMBERS):
        source, output = node.inputs[0], node.outputs[0].name or label(node)
        name = "" if source is None else source.name or ""
        root = moved.get(name, name)
        if output not in known and root in known:
            moved[output] = root
    return moved


def _alone(found: Range) -> Range:
    """Return the interval without the peaks, which are those of one Softmax's input only."""
    return Range(found.low, found.high)
