"""What the lowerings of normalizations share: half precision is computed in float, as the standard asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import DataType, attribute

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Builder, Node, Value

NARROW = (DataType.FLOAT16, DataType.BFLOAT16)


def computed_wide(node: Node, x: Value, build: Builder, formula: Callable[[Value], Value]) -> Value:
    """Return `formula(x)`, between two Casts where `stash_type` asks for float and `x` is of half precision."""
    given = build.type
    if given not in NARROW or attribute(node, "stash_type", int(DataType.FLOAT)) != DataType.FLOAT:
        return formula(x)
    wide = build("Cast", x, to=DataType.FLOAT)
    build.type = DataType.FLOAT
    return build("Cast", formula(wide), to=given)


def centered_and_variance(x: Value, axes: Value, build: Builder) -> tuple[Value, Value]:
    """Return `x` less its mean along `axes`, and the mean of the squares of that."""
    centered = build("Sub", x, build("ReduceMean", x, axes, keepdims=1))
    return centered, build("ReduceMean", build("Mul", centered, centered), axes, keepdims=1)
