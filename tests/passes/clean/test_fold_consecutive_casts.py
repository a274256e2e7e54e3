import pytest

from npuopt.passes.clean.fold_consecutive_casts import FoldConsecutiveCasts
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

TYPES = {"float": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "double": 11, "int16": 5}


def casts(before, *types):
    """A chain of Casts between two ops that take any type."""
    chain = "".join(f" c{i + 1} = Cast<to = {TYPES[kind]}>(c{i})" for i, kind in enumerate(types))
    return f"({before}[N, 3] x) => ({types[-1]}[3, N] y) {{ c0 = Transpose(x){chain} y = Identity(c{len(types)}) }}"


@pytest.mark.parametrize(
    ("before", "types", "left"),
    [
        ("float", ["double", "float"], []),
        ("int8", ["int32", "int64"], ["int64"]),
        ("uint8", ["float", "int32"], ["int32"]),
        ("bool", ["int64", "float"], ["float"]),
        ("float16", ["float", "double", "float16"], []),
        ("int32", ["int64", "double", "int32"], []),
        ("int16", ["float", "float16"], ["float16"]),
    ],
)
def test_casts_that_lose_nothing_go(before, types, left):
    after = casts(before, *left) if left else casts(before, before).replace(f" c1 = Cast<to = {TYPES[before]}>(c0)", "")
    assert_rewrites(FoldConsecutiveCasts(), casts(before, *types), after.replace("(c1)" if not left else "?", "(c0)"))


@pytest.mark.parametrize(
    ("before", "types", "because"),
    [
        ("double", ["float", "double"], "float does not hold every double"),
        ("float", ["int32", "float"], "int32 does not hold every float"),
        ("int32", ["float", "int32"], "float does not hold every int32"),
        ("int64", ["double", "int64"], "double does not hold every int64"),
        ("int8", ["uint8", "int32"], "uint8 does not hold every int8"),
        ("int16", ["float16", "float"], "float16 does not hold every int16"),
        ("int32", ["bool", "int32"], "bool does not hold every int32"),
        ("float", ["double"], None),
    ],
)
def test_casts_that_may_lose_something_stay(before, types, because):
    assert_leaves(FoldConsecutiveCasts(), casts(before, *types), because=because)


def test_whatever_surrounds_casts_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        value = around.input(2, 3, dtype=around.choose("float32", "int8", "uint8", "int32", "bool", "float16"))
        value = around.op("Transpose", value)
        for _ in range(around.choose(2, 3)):
            value = around.op("Cast", value, to=around.choose(*TYPES.values()))
        around.op("Transpose", value)

    check_surroundings(FoldConsecutiveCasts(), build, examples=80, least_hits=0.2, tolerance=0)
