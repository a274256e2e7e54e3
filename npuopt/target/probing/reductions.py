"""Cases of reductions, normalizations, softmax and attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.target.probing.case import Attribute, Case, Data, Fixed, Parameter
from npuopt.target.probing.elementwise import DIMS, SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterator

REDUCTIONS = (
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare",
)  # fmt: skip
IMAGE = (1, 4, 8, 8)
LOPSIDED = (-2.5, 3.5)
"""Evenly spaced numbers of this range have a sum. Where it is zero, a compiler is off by all that it rounds."""
WHOLE_OR_NEARLY = (
    ((2, 3), (0, 1)), ((1, 1, 6, 5), (0, 1, 2)), ((1, 3, 4, 5, 2), (1, 2, 3, 4)), ((2, 3, 4, 5, 2), (3, 4)),
)  # fmt: skip
"""Shapes with axes to reduce that leave one element or few."""


def cases() -> Iterator[Case]:
    """Yield the cases of this family."""
    yield from _reductions()
    yield from _searches()
    yield from _softmax()
    yield from _norms()
    yield from _attention()


def _reductions() -> Iterator[Case]:
    for op in REDUCTIONS:
        low, high = (0.5, 2.0) if op in ("ReduceProd", "ReduceLogSum") else LOPSIDED
        for rank in range(1, 7):
            yield Case(op, (Data(DIMS[:rank], low, high), Fixed((rank - 1,))))
        data = Data((2, 4, 6, 5), low, high)
        for axes in ((1,), (-1,), (2, 3), (1, 2, 3), (0,)):
            for keep in (0, 1):
                yield Case(op, (data, Fixed(axes)), {"keepdims": keep})
        for shape, axes in WHOLE_OR_NEARLY:
            yield Case(op, (Data(shape, low, high), Fixed(axes)))
        yield Case(op, (data, Fixed((0, 1, 2, 3))))
        yield Case(op, (data, Fixed((1,), run_time=True)))
        yield Case(op, (Data((2, 0, 4), low, high), Fixed((1,))))
        yield Case(op, (data,), {"keepdims": 1})
        yield Case(op, (data,), {"keepdims": 0})
        yield Case(op, (data,), {"noop_with_empty_axes": 1})


def _searches() -> Iterator[Case]:
    for op in ("ArgMax", "ArgMin"):
        for rank in range(1, 7):
            yield Case(op, (Data(DIMS[:rank]),), {"axis": rank - 1})
        for attributes in ({"axis": 1}, {"axis": -1, "keepdims": 0}, {"axis": 1, "select_last_index": 1}):
            yield Case(op, (Data(IMAGE),), attributes)
    for rank in range(1, 7):
        yield Case("CumSum", (Data(DIMS[:rank]), Fixed(rank - 1)))
    for attributes in ({"exclusive": 1}, {"reverse": 1}):
        yield Case("CumSum", (Data(SHAPE), Fixed(2)), attributes)
    yield Case("CumSum", (Data(SHAPE), Fixed(1)))
    yield Case("CumSum", (Data(SHAPE), Fixed(1, run_time=True)))
    for rank in range(1, 7):
        yield Case("TopK", (Data(DIMS[:rank]), Fixed((2,))), {"axis": -1}, outputs=2, moves=True)
    yield Case("TopK", (Data(SHAPE), Fixed((2,), run_time=True)), {"axis": -1}, outputs=2, moves=True)
    for attributes in ({"axis": 1}, {"axis": -1, "largest": 0}):
        yield Case("TopK", (Data(SHAPE), Fixed((2,))), attributes, outputs=2, moves=True)


def _softmax() -> Iterator[Case]:
    for op in ("Softmax", "LogSoftmax", "Hardmax"):
        for rank in range(1, 7):
            yield Case(op, (Data(DIMS[:rank]),), {"axis": -1})
        for axis in (0, 1, 2, -2):
            yield Case(op, (Data(IMAGE),), {"axis": axis})
        for rank in (2, 3, 4, 5):
            yield Case(op, (Data(DIMS[:rank]),), {"axis": 0})
        for shape in ((1, 3), (1, 3, 4), (1, 3, 4, 5, 2)):
            yield Case(op, (Data(shape),), {"axis": 0})


def _norms() -> Iterator[Case]:
    for shape in ((2, 4), (1, 4, 8), IMAGE, (1, 4, 3, 5, 5), (1, 4, 2, 2, 2, 2)):
        vectors = [Parameter((4,), low=low, high=1.5) for low in (0.5, -1.0)]
        statistics = [Parameter((4,), low=-0.5, high=0.5), Parameter((4,), low=0.5, high=1.5)]
        yield Case("BatchNormalization", (Data(shape), *vectors, *statistics))
        yield Case("BatchNormalization", (Data(shape), *vectors, *statistics), {"training_mode": 1}, outputs=3)
        if len(shape) > 2:
            yield Case("InstanceNormalization", (Data(shape), *vectors))
            for groups in (1, 2, 4):
                yield Case("GroupNormalization", (Data(shape), *vectors), {"num_groups": groups})
    for rank in range(1, 7):
        shape = DIMS[:rank]
        scale, bias = Parameter(shape[-1:], low=0.5, high=1.5), Parameter(shape[-1:], "bias")
        yield Case("LayerNormalization", (Data(shape), scale, bias), {"axis": -1})
        yield Case("LayerNormalization", (Data(shape), scale), {"axis": -1})
        yield Case("RMSNormalization", (Data(shape), scale), {"axis": -1})
        for axis in range(rank - 1, -1, -1):
            yield Case("LpNormalization", (Data(shape),), {"axis": axis, "p": 2})
    for axis in (0, 1, -2):
        tail = SHAPE[axis:]
        yield Case(
            "LayerNormalization", (Data(SHAPE), Parameter(tail, low=0.5), Parameter(tail, "bias")), {"axis": axis}
        )
        yield Case("RMSNormalization", (Data(SHAPE), Parameter(tail, low=0.5)), {"axis": axis})
    yield Case("LayerNormalization", (Data(SHAPE), Data((16,)), Data((16,))), {"axis": -1})
    yield Case("RMSNormalization", (Data(SHAPE), Data((16,))), {"axis": -1})
    yield Case("RMSNormalization", (Data(SHAPE), Parameter((1,), low=0.5)), {"axis": -1})
    half = Data(SHAPE, dtype="float16"), Parameter((16,), low=0.5, dtype="float16")
    yield Case("RMSNormalization", half, {"axis": -1})
    yield Case("LayerNormalization", (Data(SHAPE), Parameter((16,), low=0.5)), {"axis": -1}, outputs=3)
    yield Case("LpNormalization", (Data(SHAPE),), {"axis": -1, "p": 1})
    for size in (1, 3, 5):
        yield Case("LRN", (Data(IMAGE),), {"size": size})
    yield Case("MeanVarianceNormalization", (Data(IMAGE),))
    yield Case("MeanVarianceNormalization", (Data(IMAGE),), {"axes": (2, 3)})


def _attention() -> Iterator[Case]:
    query, few = Data((1, 4, 8, 16)), Data((1, 2, 8, 16))
    mask = Data((8, 8), -1, 0)
    yield Case("Attention", (query, query, query))
    yield Case("Attention", (query, query, query), {"is_causal": 1})
    yield Case("Attention", (query, few, few))
    yield Case("Attention", (query, query, query, mask))
    yield Case("Attention", (query, few, few, Data((1, 1, 8, 8), -1, 0)))
    yield Case("Attention", (query, query, query, Data((8, 8), 0, 2, "bool")))
    yield Case("Attention", (query, query, query), {"softcap": 20.0})
    yield Case("Attention", (query, query, query), {"scale": 0.5})
    past = Data((1, 4, 8, 16))
    one = Data((1, 4, 1, 16))
    yield Case("Attention", (one, one, one, None, past, past), outputs=3)
    yield Case("Attention", (one, one, one, Data((1, 9), -1, 0), past, past), outputs=3)
    yield Case("Attention", (query, query, query), outputs=4)
    lengths = Data((1,), 8, 9, "int64")
    yield Case("Attention", (query, query, query, None, None, None, lengths))
    flat: dict[str, Attribute] = {"q_num_heads": 4, "kv_num_heads": 4}
    yield Case("Attention", (Data((1, 8, 64)),) * 3, flat)
    half = Parameter((16, 8), "activation")
    positions = Data((1, 8), 0, 16, "int64")
    yield Case("RotaryEmbedding", (query, half, half, positions))
    table = Parameter((1, 8, 8), "activation")
    yield Case("RotaryEmbedding", (query, table, table))
    yield Case("RotaryEmbedding", (query, Data((1, 8, 8), -1, 1), Data((1, 8, 8), -1, 1)))
    yield Case("RotaryEmbedding", (query, half, half, positions), {"interleaved": 1})
    yield Case("RotaryEmbedding", (Data((1, 8, 64)), half, half, positions), {"num_heads": 4})
    part = Parameter((16, 4), "activation")
    yield Case("RotaryEmbedding", (query, part, part, positions), {"rotary_embedding_dim": 8})
