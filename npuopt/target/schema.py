"""The schema of a target descriptor. Its descriptions are what editors and the docs pages show."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from npuopt.target.constraints import Constraint, DataTypeName, Facts
from npuopt.target.memory import Memory
from npuopt.target.performance import Performance
from npuopt.target.roads import Delegate

FLOAT8_TYPES = ("float8e4m3fn", "float8e5m2")
"""Floats that stand for others by a scale, as integers do."""
FLOAT_TYPES = frozenset(name for name in DataTypeName.__args__ if name.startswith(("float", "bfloat"))) - {
    *FLOAT8_TYPES
}
HELD_TYPES = ("int4", "uint4", "int8", "uint8")
"""Integer types of weights that are computed with in float."""
Axis: TypeAlias = Literal["tensor", "channel", "block"]


class Shapes(Facts):
    """What the compiler asks of every tensor."""

    static: Literal["required", "optional"] = "required"
    max_rank: int | None = Field(default=None, ge=1, description="Most dimensions of any tensor.")
    min_dim: int | None = Field(default=None, ge=1, description="Fewest elements along any dimension.")
    source: str | None = None


class Cache(Facts):
    """Forms in which the chip takes the keys and values that a language model keeps."""

    forms: tuple[Literal["new", "in-place", "whole"], ...] = Field(
        default=("new", "whole"),
        min_length=1,
        description="Best first. new: the cache goes in, new keys and values come out, the caller writes them;"
        " in-place: it goes in and comes out, written at a position; whole: it goes in and comes out, moved along.",
    )
    states: bool = Field(
        default=False,
        description="What goes in and comes out in one shape is a state that a compiled region keeps between runs.",
    )
    source: str | None = None


class Scheme(Facts):
    """One way to compute: element types of activations and weights.

    A scheme whose activation is a float type needs no quantization; every other is written into the graph with
    QuantizeLinear and DequantizeLinear. A float activation with an integer weight is weight-only: the ops that list
    the scheme hold their weights so, and everything is computed as in the float scheme of that activation. Of
    activations and weights of 8-bit floats, the ops that list the scheme read both scaled; results stay float.
    """

    activation: DataTypeName = Field(description="Element type of activations where they are computed.")
    tensors: tuple[DataTypeName, ...] = Field(
        (), description="Float types that tensors of the model may have; the activation type, or float32 and float16."
    )
    between_casts: bool = Field(
        default=False,
        description="The runtime has no kernels for the activation's float type: nodes compute in float32, and what"
        " they make goes through a pair of Casts; weights are held in the type.",
    )
    activation_symmetric: bool = Field(
        default=False, description="Activations have zero point 0 (or mid-range, if unsigned)."
    )
    weight: DataTypeName | None = Field(
        default=None, description="Element type of weights; as activations when absent."
    )
    weight_axis: Axis = Field(
        default="tensor", description="One scale for a tensor, for each channel or for each block."
    )
    weight_block: int | None = Field(
        default=None, ge=1, description="Elements that share a scale, for weight_axis block."
    )
    weight_symmetric: bool = Field(default=True, description="Weights have zero point 0 (or mid-range, if unsigned).")
    weight_largest: int | None = Field(
        default=None,
        ge=1,
        description="Largest magnitude of integer weights, where the compiler has fewer than the type; symmetric only.",
    )
    weight_compressed: bool = Field(
        default=False,
        description="The compiler writes weights the shorter the smaller their integers are: they are not made larger"
        " by cutting off the largest; symmetric only.",
    )
    weight_packed: bool = Field(
        default=False,
        description="The compiler takes weights beside float activations only as MatMulNBits of com.microsoft has them:"
        " matrices, of whole blocks; other weights stay float.",
    )
    least_factor: float | None = Field(
        default=None, gt=0, description="Least activation x weight / output scale that sums are computed right with."
    )
    factor_bits: int | None = Field(
        default=None,
        ge=8,
        le=31,
        description="Significant bits of the factor (data scale x weight scale / output scale) that brings sums of"
        " products to their output: scales of weights are made so that it has no more; symmetric only.",
    )
    least_output_db: float | None = Field(
        default=None,
        ge=0,
        description="What rounding activations to 8 bits must leave of the outputs, in dB, else more of them get 16:"
        " the more, the less kernels that round otherwise do. As the step widen-activations has it when absent.",
    )
    wide_outputs_below_db: float | None = Field(
        default=None,
        ge=0,
        description="Below this, what makes the outputs gets 16 bits where their own rounding is a tenth of the noise.",
    )
    automatic: bool = Field(default=True, description="The precision auto may choose it; else it has to be asked for.")
    power_of_two: bool = Field(
        default=False, description="Scales of activations and weights are powers of two: a shift does their product."
    )
    bias: DataTypeName | None = Field(
        default=None,
        description="Element type of biases: int32 in the accumulator's scale, narrower ones in a scale of their own;"
        " as activations when absent.",
    )
    source: str | None = None

    @property
    def is_float(self) -> bool:
        """Say whether tensors stay in a float type."""
        return self.activation in FLOAT_TYPES

    @property
    def is_float8(self) -> bool:
        """Say whether operands of products are held in scaled floats of 8 bits, and results stay float."""
        return self.activation in FLOAT8_TYPES

    @property
    def is_integer(self) -> bool:
        """Say whether activations are held as integers."""
        return not self.is_float and not self.is_float8

    @property
    def is_weight_only(self) -> bool:
        """Say whether weights alone are held as integers."""
        return self.is_float and self.weight is not None and self.weight not in FLOAT_TYPES

    @property
    def needs_ranges(self) -> bool:
        """Say whether what activations reach has to be known ahead of time."""
        return not self.is_float

    @property
    def accumulates_bias(self) -> bool:
        """Say whether biases are held in the scale of the sums that they are added to."""
        return self.bias == "int32"

    @property
    def tensor_types(self) -> tuple[DataTypeName, ...]:
        """Float types that tensors of the model may have."""
        return self.tensors or ((self.activation,) if self.is_float else ("float32", "float16"))

    @model_validator(mode="after")
    def _is_consistent(self) -> Scheme:
        if self.weight_axis == "block" and self.weight_block is None:
            raise ValueError("weight_axis block needs weight_block")
        if self.is_float and self.power_of_two:
            raise ValueError("power_of_two is for integer activations")
        if self.is_float8 and (self.power_of_two or self.bias is not None or self.weight not in FLOAT8_TYPES):
            raise ValueError("activations of 8-bit floats go with such weights, without a type of biases or shifts")
        if self.is_float and self.bias is not None:
            raise ValueError("a float scheme has no bias type")
        if self.between_casts and self.activation not in ("float16", "bfloat16"):
            raise ValueError("between_casts is for activations of float16 or bfloat16")
        if self.is_weight_only and self.weight not in HELD_TYPES:
            raise ValueError(f"weights beside float activations are held in {', '.join(HELD_TYPES)}, not {self.weight}")
        if self.weight_packed and not (self.is_weight_only and self.weight_axis == "block"):
            raise ValueError("weight_packed is for weights in blocks beside float activations")
        if strays := [name for name in self.tensors if name not in FLOAT_TYPES]:
            raise ValueError(f"tensors lists float types only, not {strays[0]}")
        return self


class FixedEncoding(Facts):
    """An encoding that the hardware fixes."""

    scale: float = Field(gt=0)
    zero_point: int


class OpQuantization(Facts):
    """How an op wants its tensors quantized, where that differs from the scheme."""

    weights: tuple[int, ...] = Field(default=(), description="Inputs that are weights when they are constant.")
    bias: int | None = Field(default=None, ge=0, description="The input that is the bias.")
    weight: DataTypeName | None = Field(default=None, description="Element type of the weights.")
    weight_types: dict[str, tuple[DataTypeName, ...]] = Field(
        default={}, description="Scheme -> element types of the weights that are taken as well."
    )
    weight_axis: Axis | None = Field(default=None, description="One scale for a tensor or for each channel.")
    weight_symmetric: bool | None = Field(default=None, description="Weights have zero point 0.")
    activation: dict[str, DataTypeName] = Field(default={}, description="Scheme -> element type of the activations.")
    inputs: dict[int, dict[str, DataTypeName]] = Field(
        default={}, description="Input -> scheme -> element type of that activation alone (a narrower second operand)."
    )
    share: bool = Field(default=False, description="All float inputs and outputs have one encoding (data movement).")
    output: dict[str, FixedEncoding] = Field(default={}, description="Scheme -> the encoding of the outputs.")
    saturates: bool = Field(default=False, description="Clip is left to the saturation of its result's encoding.")
    stays_float: bool = Field(default=False, alias="float", description="Stays in float where the rest is quantized.")
    between: tuple[int, int] | None = Field(
        default=None,
        description="Lowest and highest rank of input 0 at which it is taken in float between DequantizeLinear and"
        " QuantizeLinear, where it has no integer scheme; what lowers it to ops that have one still comes first.",
    )


class Dtypes(Facts):
    """Element types of tensors that no scheme covers: integers, truth values, and floats listed on purpose.

    Keys are positions; `all` covers every position without an entry of its own. A position that is not listed takes
    float data in the op's schemes and nothing else.
    """

    inputs: dict[int | Literal["all"], tuple[DataTypeName, ...]] = Field(
        default={}, description="Position -> element types."
    )
    outputs: dict[int | Literal["all"], tuple[DataTypeName, ...]] = Field(
        default={}, description="Position -> element types."
    )


_NO_DTYPES = Dtypes(inputs={}, outputs={})


class OpRule(Facts):
    """When the compiler takes an op."""

    schemes: tuple[str, ...] = Field(default=(), description="Schemes in which float data is taken.")
    dtypes: Dtypes = Field(default=_NO_DTYPES, description="Element types of data that is not float.")
    rank: tuple[int, int] | None = Field(default=None, description="Fewest and most dimensions of input 0.")
    when: tuple[Constraint, ...] = Field(default=(), description="Conditions; the node must meet each of them.")
    quantization: OpQuantization = Field(
        default=OpQuantization(), description="How the op wants its tensors quantized."
    )
    lower: tuple[str, ...] = Field(default=(), description="Lowering passes to try first for nodes that are refused.")
    refused: str | None = Field(default=None, description="The op is never taken; why.")
    stricter: str | None = Field(default=None, description="Why the rule refuses some of what the compiler takes.")
    notes: str | None = Field(default=None, description="What a reader should know.")
    source: str | None = Field(default=None, description="Where this is known from.")

    @model_validator(mode="after")
    def _is_consistent(self) -> OpRule:
        if self.rank is not None and self.rank[0] > self.rank[1]:
            raise ValueError(f"nothing fits: rank {self.rank[0]} to {self.rank[1]}")
        if self.refused is not None and (self.schemes or self.when or self.dtypes != _NO_DTYPES):
            raise ValueError("a refused op has no schemes, dtypes or conditions")
        if self.refused is None and not self.schemes and self.dtypes == _NO_DTYPES:
            raise ValueError("takes nothing: give schemes, dtypes or refused")
        return self


class Descriptor(Facts):
    """One chip as its compiler sees it. Facts only, each with its source."""

    extends: str | None = Field(default=None, description="Descriptor to start from; a null here removes what it says.")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$", description="The target's id.")
    title: str = Field(description="The chip's name for people.")
    source: str | None = Field(default=None, description="Source of every fact in this file that has none of its own.")
    notes: tuple[str, ...] = Field(default=(), description="What a reader should know.")
    delegate: Delegate
    shapes: Shapes = Shapes()
    memory: Memory = Memory()
    cache: Cache = Cache()
    schemes: dict[str, Scheme] = Field(min_length=1, description="What may be computed in what.")
    ops: dict[str, OpRule] = Field(min_length=1, description="Op (`domain::Name` outside ONNX) -> when it is taken.")
    performance: Performance = Performance()
