from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Builder, DataType, constant, element_type, producer
from npuopt.passes.lower.lower_elementwise_rank import ELEMENTWISE
from npuopt.pipeline import Changed, Declined, Lowering, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value

FLOATS = (
    *(op for op in ELEMENTWISE if op not in ("Cast", "And", "Not", "Or", "Xor")),
    *("ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Concat", "Conv", "ConvTranspose", "CumSum", "Einsum"),
    *("Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "GlobalMaxPool"),
    *("Identity", "InstanceNormalization", "LayerNormalization", "LogSoftmax", "MatMul", "MaxPool", "Pad", "ReduceL1"),
    *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare", "Reshape", "Slice", "Softmax", "Split", "Squeeze", "Tile", "TopK", "Transpose"),
    *("Unsqueeze",),
)


@dataclass(frozen=True)
class LowerDouble(Lowering):
    """An op on doubles becomes one on floats.

    `Add(x, y) -> Cast<double>(Add(Cast<float>(x), Cast<float>(y)))`, where Casts between two such ops fall away.
    Results have the digits of floats, so that this is done where it is asked for by name and never by legalization.

    Left alone: ops without doubles; a constant that floats do not hold: too large, or too small to be other than zero.
    """

    name = "lower-double"
    op_types = FLOATS
    produces = frozenset({*FLOATS, "Cast"})

    def forms(self) -> tuple[LowerDouble, ...]:
        """Return nothing: legalization keeps to the numbers."""
        return ()

    def lower(self, node: Node, edit: Editor) -> Outcome:
        """Replace `node` by the same op of floats."""
        if not any(element_type(value) == DataType.DOUBLE for value in node.inputs):
            return None
        lost = [value for value in node.inputs if not _fits(constant(value))]
        if lost:
            return Declined(f"floats do not hold the constant {lost[0].name if lost[0] else ''!r}")
        build = Builder(edit, node)
        doubles = [value for value in node.inputs if value is not None and element_type(value) == DataType.DOUBLE]
        inputs = [_narrow(value, build) if value in doubles else value for value in node.inputs]
        results = build.many(node.op_type, len(node.outputs), *inputs, **node.attributes)
        wide = [
            build("Cast", new, to=DataType.DOUBLE) if element_type(old) == DataType.DOUBLE else new
            for old, new in zip(node.outputs, results, strict=True)
        ]
        edit.replace_node(node, *wide)
        for value in doubles:
            edit.erase_unread(producer(value, "Cast"))
        return Changed(f"became {', '.join(build.emitted)}")


def _fits(known: np.ndarray | None) -> bool:
    """Say whether a constant keeps its finite numbers and its zeros as floats."""
    if known is None or known.dtype != np.float64:
        return True
    with np.errstate(over="ignore", under="ignore"):
        narrow = known.astype(np.float32)
    return bool((np.isfinite(narrow) == np.isfinite(known)).all() and ((narrow == 0) == (known == 0)).all())


def _narrow(value: Value, build: Builder) -> Value:
    known, maker = constant(value), producer(value, "Cast")
    if known is not None:
        return build.edit.constant(known.astype(np.float32), near=build.node)
    source = maker.inputs[0] if maker is not None else None
    if source is not None and element_type(source) == DataType.FLOAT:
        return source
    return build("Cast", value, to=DataType.FLOAT)
