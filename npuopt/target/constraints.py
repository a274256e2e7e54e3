"""The closed set of conditions that a descriptor can put on a node. What it cannot say is a named predicate.

Every condition is a mapping; the key that names its kind comes first:

    {rank: input 0, min: 2, max: 5}                  {constant: input 1}
    {attribute: mode, one_of: [nearest, linear]}     {dimension: input 0, axis: -1, multiple_of: 4}

Any condition may also carry `schemes` (holds in these schemes only), `if` (holds where that other condition does),
`because` (a sentence for the reader) and `source`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

DataTypeName: TypeAlias = Literal[
    "float64", "float32", "float16", "bfloat16", "float8e4m3fn", "float8e5m2", "float4e2m1",
    "int64", "int32", "int16", "int8", "int4", "int2", "uint64", "uint32", "uint16", "uint8", "uint4", "uint2",
    "bool", "string",
]  # fmt: skip
Scalar: TypeAlias = str | int | float | bool

_PLACE = re.compile(r"(input|output) ([0-9]{1,4})\Z|(inputs|outputs)\Z")


def parse_place(text: str) -> tuple[Literal["input", "output"], int | None]:
    """Read `input 0` as ("input", 0) and `outputs` as ("output", None), which means each of them.

    Raises:
        ValueError: the text is no such place.
    """
    found = _PLACE.match(text)
    if found is None:
        raise ValueError("say 'input 0', 'output 0', 'inputs' or 'outputs'")
    if found[3]:
        return ("input" if found[3] == "inputs" else "output"), None
    return ("input" if found[1] == "input" else "output"), int(found[2])


def _check_place(text: str) -> str:
    parse_place(text)
    return text


def _check_place_or_attribute(text: str) -> str:
    if not re.match(r"attribute [A-Za-z_]\w*\Z", text):
        try:
            parse_place(text)
        except ValueError as error:
            raise ValueError(f"{error}, or 'attribute NAME'") from None
    return text


Place: TypeAlias = Annotated[
    str,
    AfterValidator(_check_place),
    WithJsonSchema({"type": "string", "pattern": r"^((in|out)put \d+|(in|out)puts)$"}),
]
PlaceOrAttribute: TypeAlias = Annotated[
    str,
    AfterValidator(_check_place_or_attribute),
    WithJsonSchema({"type": "string", "pattern": r"^((in|out)put \d+|(in|out)puts|attribute \w+)$"}),
]


class Facts(BaseModel):
    """A mapping of a descriptor: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class Condition(Facts):
    """What every kind of condition shares."""

    schemes: tuple[str, ...] | None = Field(None, description="Holds in these schemes only.")
    if_: Constraint | None = Field(
        default=None, alias="if", description="Holds only where this other condition and its own `if` do."
    )
    because: str | None = Field(default=None, description="Why, for the reader.")
    source: str | None = Field(default=None, description="Where this is known from; the op's source when absent.")


class Bounds(Condition):
    """Bounds on numbers (or words, for `one_of` and `equal`). At least one must be given."""

    min: int | float | None = Field(default=None, description="Smallest value taken.")
    max: int | float | None = Field(default=None, description="Largest value taken.")
    multiple_of: int | None = Field(default=None, ge=1, description="The value must be a multiple of this.")
    one_of: tuple[Scalar, ...] | None = Field(default=None, min_length=1, description="The values taken.")
    equal: Scalar | tuple[Scalar, ...] | None = Field(default=None, description="The one value (or list) taken.")

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Bounds:
        if all(bound is None for bound in (self.min, self.max, self.multiple_of, self.one_of, self.equal)):
            raise ValueError("a bound is missing: one of min, max, multiple_of, one_of, equal")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"nothing fits: min {self.min} is above max {self.max}")
        if self.equal is not None and self.one_of is not None:
            raise ValueError("equal and one_of exclude each other")
        return self


class AttributeConstraint(Bounds):
    """An attribute's value (each item of a list); where it is absent, the default of the ONNX schema."""

    attribute: str
    at: int | None = Field(default=None, description="Look only at this item of a list attribute.")


class ValueConstraint(Bounds):
    """Each element of a constant input. An input that is left out is fine; one that is not constant is not."""

    value: Place


class RankConstraint(Bounds):
    """The number of dimensions."""

    rank: Place


class DimensionConstraint(Bounds):
    """One dimension, or each when `axis` is absent; a negative axis counts from the end."""

    dimension: Place
    axis: int | None = None


class ProductConstraint(Bounds):
    """The product of a list attribute's items or of some dimensions (all of them when `axes` is absent)."""

    product: PlaceOrAttribute
    axes: tuple[int, ...] | None = None


class CountConstraint(Bounds):
    """How many inputs or outputs the node has."""

    count: Literal["inputs", "outputs"]


class AxisConstraint(Bounds):
    """An axis attribute, counted from the end of input 0: -1 is the last axis."""

    axis_from_end: str = Field(description="The attribute's name.")


class DtypeConstraint(Condition):
    """The element type, as the graph has it."""

    dtype: Place
    one_of: tuple[DataTypeName, ...] = Field(min_length=1)


class StaticConstraint(Condition):
    """Every dimension is a known number."""

    static: Place


class ConstantConstraint(Condition):
    """The value is known at compile time (a DequantizeLinear of a constant is). Its type is not restricted."""

    constant: Place


class VariableConstraint(Condition):
    """The value is not known at compile time."""

    variable: Place


class PresentConstraint(Condition):
    """The optional input, output or attribute is given."""

    present: PlaceOrAttribute


class AbsentConstraint(Condition):
    """The optional input, output or attribute is left out, or the output is read by nobody."""

    absent: PlaceOrAttribute


class PredicateConstraint(Condition):
    """A named predicate of `npuopt.target.predicates`; its docstring says what it asks."""

    predicate: str


KINDS: dict[str, type[Condition]] = {
    "attribute": AttributeConstraint,
    "value": ValueConstraint,
    "rank": RankConstraint,
    "dimension": DimensionConstraint,
    "product": ProductConstraint,
    "count": CountConstraint,
    "axis_from_end": AxisConstraint,
    "dtype": DtypeConstraint,
    "static": StaticConstraint,
    "constant": ConstantConstraint,
    "variable": VariableConstraint,
    "present": PresentConstraint,
    "absent": AbsentConstraint,
    "predicate": PredicateConstraint,
}


def kind_of(condition: object) -> str | None:
    """Name the kind of a condition, given as a mapping or as a model, or None when no key says it."""
    if isinstance(condition, BaseModel):
        return next(kind for kind, model in KINDS.items() if isinstance(condition, model))
    if not isinstance(condition, dict):
        return None
    keys = cast("dict[Any, Any]", condition)
    return next((kind for kind in KINDS if kind in keys), None)


Constraint: TypeAlias = Annotated[
    Annotated[AttributeConstraint, Tag("attribute")]
    | Annotated[ValueConstraint, Tag("value")]
    | Annotated[RankConstraint, Tag("rank")]
    | Annotated[DimensionConstraint, Tag("dimension")]
    | Annotated[ProductConstraint, Tag("product")]
    | Annotated[CountConstraint, Tag("count")]
    | Annotated[AxisConstraint, Tag("axis_from_end")]
    | Annotated[DtypeConstraint, Tag("dtype")]
    | Annotated[StaticConstraint, Tag("static")]
    | Annotated[ConstantConstraint, Tag("constant")]
    | Annotated[VariableConstraint, Tag("variable")]
    | Annotated[PresentConstraint, Tag("present")]
    | Annotated[AbsentConstraint, Tag("absent")]
    | Annotated[PredicateConstraint, Tag("predicate")],
    Discriminator(kind_of),
]

for _model in (Condition, Bounds, *KINDS.values()):
    _model.model_rebuild()
