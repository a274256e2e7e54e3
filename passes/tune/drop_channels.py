"""Takes out the channels whose weights are least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Editor, input_at, is_constant, nodes, rank, static_shape
from npuopt.passes.tune.cutting import Cutter, require_share
from npuopt.passes.tune.rules import RULES
from npuopt.passes.tune.tracing import Place, Tracing
from npuopt.pipeline import Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class DropChannels(Pass):
    """Take a share of the channels out of convolutions and products, those with the least weights first.

    `Conv(Relu(Conv(x, A)), B)` becomes the same with fewer filters in A and fewer features in B. Channels that meet in
    sums, products and depthwise filters go together. The numbers change by what the channels carried.

    Left alone: channels that an input or output of the model holds, or that an op mixes in a way that is not known.

    Attributes:
        share: of each set of channels that goes, rounded down.
        multiple: what stays of each set is rounded up to a multiple of this, which hardware computes in.
    """

    name: ClassVar[str] = "drop-channels"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    share: float = 0.25
    multiple: int = 8

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Look at what each layer makes, and cut the sets of channels that can be followed to their ends."""
        del target  # how much goes is the caller's choice
        require_share(self.share, self.multiple)
        report = Report(self.name)
        cutter = Cutter(self.share, self.multiple, "channels", report, Editor(model))
        seen: set[object] = set()
        for node in nodes(model, "Conv", "Gemm", "MatMul"):
            output, axis = node.outputs[0], _channel_axis(node)
            shape = static_shape(output)
            if node.graph is not model.graph or axis is None or shape is None or output in seen or shape[axis] <= 1:
                continue
            tracing = Tracing(model.graph, shape[axis], RULES)
            tracing.follow(output, Place(axis, 1))
            seen.update(tracing.places)
            cutter.drop(tracing, node)
        return report


def _channel_axis(node: Node) -> int | None:
    """Return the axis along which a layer with constant weights makes its channels, None for other nodes."""
    if not is_constant(input_at(node, 1)):
        return None
    return 1 if node.op_type == "Conv" else (rank(node.outputs[0]) or 0) - 1
