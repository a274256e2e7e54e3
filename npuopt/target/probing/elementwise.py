"""Cases of ops that work element by element, and of type conversions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.target.probing.case import Case, Data, Fixed, Input, Parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPE = (1, 8, 16)
DIMS = (2, 3, 4, 5, 2, 2, 2)
"""Sizes of the first axes, so that no two neighbours are alike; a shape of rank r is the first r."""
RANKS = tuple(range(7))

UNARY = {
    "Abs": (-3, 3), "Acos": (-0.9, 0.9), "Acosh": (1.1, 3), "Asin": (-0.9, 0.9), "Asinh": (-3, 3), "Atan": (-3, 3),
    "Atanh": (-0.9, 0.9), "Ceil": (-3, 3), "Celu": (-3, 3), "Cos": (-3, 3), "Cosh": (-2, 2), "Elu": (-3, 3),
    "Erf": (-3, 3), "Exp": (-3, 2), "Floor": (-3, 3), "Gelu": (-3, 3), "HardSigmoid": (-4, 4), "HardSwish": (-4, 4),
    "Identity": (-3, 3), "IsInf": (-3, 3), "IsNaN": (-3, 3), "LeakyRelu": (-3, 3), "Log": (0.1, 4), "Mish": (-3, 3),
    "Neg": (-3, 3), "Reciprocal": (0.5, 4), "Relu": (-3, 3), "Round": (-3, 3), "Selu": (-3, 3), "Shrink": (-3, 3),
    "Sigmoid": (-4, 4), "Sign": (-3, 3), "Sin": (-3, 3), "Sinh": (-2, 2), "Softplus": (-3, 3), "Softsign": (-3, 3),
    "Sqrt": (0.1, 4), "Swish": (-3, 3), "Tan": (-1, 1), "Tanh": (-3, 3), "ThresholdedRelu": (-3, 3),
}  # fmt: skip
"""Op and the range of inputs it is tried on."""
BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "PRelu")
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
LOGIC = ("And", "Or", "Xor")
VARIADIC = ("Max", "Min", "Sum", "Mean")
BITWISE = ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
CAST_TYPES = (
    "float32", "float16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Yield the cases of this family."""
    yield from _unary()
    for op in BINARY:
        positive = op == "Pow"
        second = (0.5, 2.0) if op in ("Pow", "Div") else (-2.0, 2.0)
        yield from _binary(op, (0.2, 2.0) if positive else (-3.0, 3.0), second)
    for op in COMPARISONS:
        yield from _binary(op, (-3.0, 3.0), (-3.0, 3.0))
    for op in LOGIC:
        for rank in RANKS:
            yield Case(op, (Data(DIMS[:rank], 0, 2, "bool"),) * 2)
        yield from _pairs(op, Data(SHAPE, 0, 2, "bool"))
    for op in BITWISE:
        yield from _pairs(op, Data(SHAPE, 1, 9, "int32"))
    for op in VARIADIC:
        for count in (1, 2, 3):
            yield Case(op, (Data(SHAPE),) * count)
        yield from _pairs(op, Data(SHAPE))
    yield from _others()
    yield from _casts()
    yield from _quantization()


def _unary() -> Iterator[Case]:
    for op, (low, high) in UNARY.items():
        for rank in RANKS:
            yield Case(op, (Data(DIMS[:rank], low, high),), moves=op == "Identity")
    for alpha in (0.0, 0.1, 1.0, 2.0):
        for op in ("LeakyRelu", "Elu", "Celu", "ThresholdedRelu", "Swish"):
            if alpha or op == "LeakyRelu":
                yield Case(op, (Data(SHAPE),), {"alpha": alpha})
    yield Case("HardSigmoid", (Data(SHAPE, -4, 4),), {"alpha": 1 / 6, "beta": 0.5})
    yield Case("Gelu", (Data(SHAPE),), {"approximate": "tanh"})
    for rank in RANKS:
        yield Case("Not", (Data(DIMS[:rank], 0, 2, "bool"),))
    yield Case("BitwiseNot", (Data(SHAPE, 1, 9, "int32"),))


def _binary(op: str, first: tuple[float, float], second: tuple[float, float]) -> Iterator[Case]:
    left = Data(SHAPE, *first)
    for rank in RANKS:
        yield Case(op, (Data(DIMS[:rank], *first), Data(DIMS[:rank], *second)))
    yield from _pairs(op, left, second)


def _pairs(op: str, left: Data, second: tuple[float, float] | None = None) -> Iterator[Case]:
    """Yield broadcasts of the second input, constants, and a first input that is broadcast."""
    low, high = second or (left.low, left.high)
    for shape in ((16,), (1, 1, 16), (1, 8, 1), (1,), ()):
        yield Case(op, (left, Data(shape, low, high, left.dtype)))
        if left.dtype == "float32":
            yield Case(op, (left, Parameter(shape, "activation", None, low, high)))
    if op != "PRelu":
        yield Case(op, (Data((16,), left.low, left.high, left.dtype), Data(SHAPE, low, high, left.dtype)))
        yield Case(op, (Data((1, 8, 1), left.low, left.high, left.dtype), Data((1, 1, 16), low, high, left.dtype)))
    yield Case(op, (Data((1, 4, 6, 6), left.low, left.high, left.dtype), Data((4, 1, 1), low, high, left.dtype)))


def _others() -> Iterator[Case]:
    for rank in RANKS:
        shape = DIMS[:rank]
        yield Case("Where", (Data(shape, 0, 2, "bool"), Data(shape), Data(shape)))
        yield Case("Clip", (Data(shape), Fixed(-1.0, "float32"), Fixed(2.0, "float32")))
        yield Case("Mod", (Data(shape, 1, 30, "int32"), Data(shape, 1, 9, "int32")))
        yield Case("Mod", (Data(shape, -30, 30, "int32"), Data(shape, -9, 0, "int32")))
        yield Case("Dropout", (Data(shape),), moves=True)
    for shapes in (((8, 16), SHAPE, SHAPE), (SHAPE, (16,), SHAPE), (SHAPE, SHAPE, ()), ((1, 1, 16), SHAPE, (1, 8, 1))):
        yield Case("Where", (Data(shapes[0], 0, 2, "bool"), Data(shapes[1]), Data(shapes[2])))
    constant = Parameter((), "activation", None, -2.5, -2.0)
    yield Case("Where", (Data(SHAPE, 0, 2, "bool"), Data(SHAPE), constant))
    bounds: tuple[tuple[Input, ...], ...] = (
        (Fixed(0.0, "float32"),),
        (None, Fixed(2.0, "float32")),
        (),
        (Data((), -1.0, -0.5), Data((), 0.5, 1.0)),
        (Fixed(0.0, "float32"), Fixed(6.0, "float32")),
    )
    for given in bounds:
        yield Case("Clip", (Data(SHAPE), *given))
    for fmod in (0, 1):
        yield Case("Mod", (Data(SHAPE), Data(SHAPE, 1, 3)), {"fmod": fmod})
    yield Case("Mod", (Data(SHAPE, 1, 30, "int32"), Data(SHAPE, 1, 9, "int32")), {"fmod": 1})
    for direction in ("LEFT", "RIGHT"):
        yield Case("BitShift", (Data(SHAPE, 1, 9, "uint8"), Data(SHAPE, 1, 3, "uint8")), {"direction": direction})


def _casts() -> Iterator[Case]:
    from onnx import TensorProto, helper  # noqa: PLC0415 -- only the numbers of the types

    for source in CAST_TYPES:
        for result in CAST_TYPES:
            to = helper.np_dtype_to_tensor_dtype(_numpy(result)) if result else TensorProto.UNDEFINED
            low = 0 if source == "bool" else 1 if source.startswith("u") else -9
            high = 2 if source == "bool" else 10
            if result.startswith("u"):
                low = 0
            yield Case("Cast", (Data(SHAPE, low, high, source),), {"to": int(to)})
    for rank in RANKS:
        yield Case("Cast", (Data(DIMS[:rank], 0, 9, "int32"),), {"to": int(TensorProto.FLOAT)})
    yield Case("CastLike", (Data(SHAPE, 0, 9, "int32"), Data((1,))))


def _numpy(name: str) -> object:
    import numpy as np  # noqa: PLC0415 -- as above

    return np.dtype(name)


def _quantization() -> Iterator[Case]:
    """Yield QuantizeLinear and DequantizeLinear as ops of their own, with constant and with run-time encodings."""
    for dtype, zero_point in (("uint8", 128), ("int8", 0), ("uint16", 32768), ("int16", 0), ("int32", 0)):
        encoding = (Fixed(0.05, "float32"), Fixed(zero_point, dtype))
        yield Case("DequantizeLinear", (Data(SHAPE, 1, 100, dtype), *encoding))
        if dtype != "int32":
            yield Case("QuantizeLinear", (Data(SHAPE), *encoding))
    scale, zero = Fixed(0.05, "float32"), Fixed(128, "uint8")
    stored = Data(SHAPE, 1, 100, "uint8")
    for given in ((Fixed(0.05, "float32", run_time=True), zero), (scale, Fixed(128, "uint8", run_time=True))):
        yield Case("QuantizeLinear", (Data(SHAPE), *given))
        yield Case("DequantizeLinear", (stored, *given))
    blocks = (Fixed((0.05,) * 64, "float32", (1, 8, 8)), Fixed((128,) * 64, "uint8", (1, 8, 8)))
    yield Case("QuantizeLinear", (Data(SHAPE), *blocks), {"block_size": 2, "axis": 2})
    yield Case("DequantizeLinear", (stored, *blocks), {"block_size": 2, "axis": 2})
