"""Takes out the attention heads whose weights are least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import Editor, input_at, label, nodes, static_shape
from npuopt.passes.tune.cutting import Cutter, require_share
from npuopt.passes.tune.rules import RULES
from npuopt.passes.tune.tracing import Place, Tracing
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target

HEADS = 1
"""The axis of heads in [batch, heads, sequence, size]."""


@dataclass(frozen=True)
class DropHeads(Pass):
    """Take a share of the heads out of every Attention, those with the least weights first.

    The weights that make queries, keys and values lose columns, the one that reads the result loses rows. Heads of
    queries that share a head of keys and values go with it. A cache that is an input and output of the model loses
    the heads too: its shape changes. The numbers change by what the heads carried.

    Left alone: attention that is not one Attention node with heads along axis 1 (run the fusions first); heads that
    an op mixes in a way that is not known.

    Attributes:
        share: of each node's heads of keys that goes, rounded down.
        multiple: what stays is rounded up to a multiple of this.
    """

    name: ClassVar[str] = "drop-heads"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    keeps_interface: ClassVar[bool] = False

    share: float = 0.25
    multiple: int = 1

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Look at each Attention, and cut the heads that can be followed to their ends."""
        del target  # how much goes is the caller's choice
        require_share(self.share, self.multiple)
        report = Report(self.name)
        cutter = Cutter(self.share, self.multiple, "heads", report, Editor(model))
        for node in nodes(model, "Attention"):
            keys = input_at(node, 1)
            shape = static_shape(keys)
            if node.graph is not model.graph or keys is None or shape is None or len(shape) != 4:
                report.declined.append(Entry(label(node), node.op_type, "its heads have no axis of their own"))
                continue
            if shape[HEADS] == 1:
                continue
            tracing = Tracing(model.graph, shape[HEADS], RULES, through_interface=True)
            tracing.follow(keys, Place(HEADS, 1))
            cutter.drop(tracing, node)
        return report
