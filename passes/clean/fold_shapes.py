"""Shape arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from npuopt.graph import infer_shapes, nodes
from npuopt.graph.queries import subgraphs_of
from npuopt.passes.clean.shape_sweep import Sweep
from npuopt.pipeline import Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldShapes(Pass):
    """Computed shapes become constants as far as dims are known.

    Reshape(x, Concat(Shape(x)[0:1], [12, 64])) -> Reshape(x, [0, 12, 64])      where x is (batch, 768)

    One sweep in graph order: what a folded shape says of the values behind it is inferred at once, so that a chain
    of any length falls in one run. Followed are Shape, Size, Gather, Slice, Concat, Squeeze, Unsqueeze, Reshape,
    Cast, ConstantOfShape, Range, Expand, Where, comparisons and integer arithmetic on vectors of up to 64 elements.
    What is known of a target or bound is noted in the shape of what Expand, Reshape, Slice and Range make.

    Left alone: elements that depend on dims without a number (a Reshape's target may hold dims of the same name as
    its input's at the same place, or else one that all the others settle); a 0 beside a -1 in a target, which fails
    on empty tensors; the Identity that makes a graph output of a constant.
    """

    name: ClassVar[str] = "fold-shapes"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Sweep once."""
        del target
        report = Report(self.name)
        sweep = Sweep(model, report)
        every = nodes(model)
        for node in every:
            if sweep.may_tell(node):
                sweep.visit(node)
        sweep.finish()
        if sweep.nameless or (report.changed and any(map(subgraphs_of, every))):
            # Which unknown dims are equal no single node tells, nor that control flow makes what its subgraphs make.
            infer_shapes(model)
        return report
