"""Cases of matrix products, convolutions, pools and recurrent ops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.target.probing.case import Attribute, Case, Data, Fixed, Input, Parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = (1, 4, 8, 8)
SPATIAL = {3: (16,), 4: (8, 8), 5: (4, 6, 6)}
"""Spatial sizes by rank of the input."""


def cases() -> Iterator[Case]:
    """Yield the cases of this family."""
    yield from _matmul()
    yield from _gemm()
    yield from _conv()
    yield from _conv_transpose()
    yield from _pools()
    yield from _einsum()
    yield from _recurrent()
    yield from _integer_products()
    yield from _packed_products()


def _matmul() -> Iterator[Case]:
    run_time = (
        ((8, 16), (16, 4)), ((1, 8, 16), (1, 16, 4)), ((2, 8, 16), (2, 16, 4)), ((1, 4, 8, 16), (1, 4, 16, 8)),
        ((1, 4, 8, 16), (1, 1, 16, 8)), ((1, 1, 8, 16), (1, 4, 16, 8)), ((1, 4, 8, 16), (16, 8)), ((8, 16), (2, 16, 4)),
        ((1, 2, 2, 8, 16), (1, 2, 2, 16, 4)), ((1, 1, 2, 2, 8, 16), (1, 1, 2, 2, 16, 4)), ((16,), (16, 4)),
        ((8, 16), (16,)), ((16,), (16,)), ((1, 4, 1, 16), (1, 4, 16, 128)),
    )  # fmt: skip
    for left, right in run_time:
        yield Case("MatMul", (Data(left), Data(right, -2, 2)))
    constant = (
        ((8, 16), (16, 4)), ((1, 8, 16), (16, 4)), ((1, 1, 16), (16, 4)), ((1, 4, 8, 16), (16, 4)), ((16,), (16, 4)),
        ((1, 2, 2, 8, 16), (16, 4)), ((1, 4, 8, 16), (1, 4, 16, 4)), ((2, 8, 16), (2, 16, 4)), ((8, 16), (16,)),
        ((3, 8, 16), (16, 4)), ((1, 1, 2, 2, 8, 16), (16, 4)),
    )  # fmt: skip
    for left, right in constant:
        channel = 1 if len(right) == 2 else None
        yield Case("MatMul", (Data(left), Parameter(right, "weight", channel)))
    yield Case("MatMul", (Parameter((8, 16), "weight"), Data((16, 4))))


def _gemm() -> Iterator[Case]:
    left = Data((8, 16))
    for transposed in (0, 1):
        shape, channel = ((4, 16), 0) if transposed else ((16, 4), 1)
        weight = Parameter(shape, "weight", channel)
        yield Case("Gemm", (left, weight, Parameter((4,), "bias")), {"transB": transposed})
        yield Case("Gemm", (left, weight), {"transB": transposed})
        yield Case("Gemm", (left, Data(shape)), {"transB": transposed})
    weight, bias = Parameter((16, 4), "weight", 1), Parameter((4,), "bias")
    yield Case("Gemm", (Data((16, 8)), weight, bias), {"transA": 1})
    yield Case("Gemm", (left, weight, bias), {"alpha": 0.5})
    yield Case("Gemm", (left, weight, bias), {"beta": 0.5})
    for shape in ((), (1,), (1, 4), (8, 1), (8, 4)):
        yield Case("Gemm", (left, weight, Parameter(shape, "activation")))
    yield Case("Gemm", (left, weight, Data((8, 4))))
    yield Case("Gemm", (left, Data((16, 4)), Data((4,))))


def _conv() -> Iterator[Case]:
    for rank, spatial in SPATIAL.items():
        kernel, pads = (3,) * len(spatial), (1,) * 2 * len(spatial)
        data, weight = Data((1, 4, *spatial)), Parameter((8, 4, *kernel), "weight", 0)
        yield Case("Conv", (data, weight, Parameter((8,), "bias")), {"pads": pads})
        yield Case("Conv", (data, weight), {"pads": pads})
        yield Case("Conv", (data, weight), {"pads": pads, "dilations": (2,) * (rank - 2)})
        yield Case("Conv", (data, weight), {"strides": (2,) * (rank - 2)})
        for group in (2, 4):
            yield Case("Conv", (data, Parameter((8, 4 // group, *kernel), "weight", 0)), {"group": group, "pads": pads})
        yield Case("Conv", (data, Data((8, 4, *kernel), -1, 1)), {"pads": pads})
        yield Case("Conv", (Data((2, 4, *spatial)), weight), {"pads": pads})
    image = Data(IMAGE)
    square = Parameter((8, 4, 3, 3), "weight", 0)
    variants: tuple[dict[str, Attribute], ...] = (
        {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}, {"pads": (0, 1, 2, 1)},
        {"strides": (1, 2), "pads": (1, 1, 1, 1)}, {"strides": (3, 3)}, {"dilations": (1, 2)},
    )  # fmt: skip
    for attributes in variants:
        yield Case("Conv", (image, square), attributes)
    for size in (1, 2, 5, 7):
        yield Case("Conv", (image, Parameter((8, 4, size, size), "weight", 0)))
    yield Case("Conv", (image, square, Data((8,))), {"pads": (1, 1, 1, 1)})
    depthwise = Parameter((4, 1, 3, 3), "weight", 0)
    yield Case("Conv", (image, depthwise, Parameter((4,), "bias")), {"group": 4, "pads": (1, 1, 1, 1)})
    yield Case("Conv", (image, depthwise), {"group": 4, "pads": (2, 2, 2, 2), "dilations": (2, 2)})


def _conv_transpose() -> Iterator[Case]:
    for rank, spatial in SPATIAL.items():
        kernel = (3,) * (rank - 2)
        data, weight = Data((1, 4, *spatial)), Parameter((4, 6, *kernel), "weight", 1)
        twice: dict[str, Attribute] = {"strides": (2,) * (rank - 2)}
        yield Case("ConvTranspose", (data, weight, Parameter((6,), "bias")), twice)
        yield Case("ConvTranspose", (data, weight), twice)
        yield Case("ConvTranspose", (data, weight), {**twice, "output_padding": (1,) * (rank - 2)})
        yield Case("ConvTranspose", (data, weight), {"dilations": (2,) * (rank - 2)})
        for group, made in ((2, 3), (2, 1), (4, 1), (4, 2)):
            grouped = Parameter((4, made, *kernel))
            yield Case("ConvTranspose", (data, grouped), {**twice, "group": group})
            yield Case("ConvTranspose", (data, grouped), {"group": group})
        yield Case("ConvTranspose", (data, weight), {**twice, "pads": (1,) * 2 * (rank - 2)})
    weight = Parameter((4, 6, 3, 3), "weight", 1)
    for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield Case("ConvTranspose", (Data(IMAGE), weight), {"strides": (2, 2), "auto_pad": auto_pad})
    yield Case("ConvTranspose", (Data(IMAGE), weight), {"strides": (2, 2), "output_shape": (16, 16)})
    yield Case("ConvTranspose", (Data(IMAGE), Data((4, 6, 3, 3))), {"strides": (2, 2)})


def _pools() -> Iterator[Case]:
    for rank, spatial in SPATIAL.items():
        data, count = Data((1, 4, *spatial)), rank - 2
        kernel: dict[str, Attribute] = {"kernel_shape": (3,) * count}
        for op in ("MaxPool", "AveragePool", "LpPool"):
            moves = op == "MaxPool"
            yield Case(op, (data,), kernel, moves=moves)
            yield Case(op, (data,), {**kernel, "strides": (2,) * count, "pads": (1,) * 2 * count}, moves=moves)
            yield Case(op, (data,), {**kernel, "strides": (2,) * count, "ceil_mode": 1}, moves=moves)
            if rank < 5:
                yield Case(op, (data,), {**kernel, "dilations": (2,) * count}, moves=moves)
        padded: dict[str, Attribute] = {**kernel, "pads": (1,) * 2 * count}
        yield Case("AveragePool", (data,), {**padded, "count_include_pad": 1})
        yield Case("AveragePool", (data,), {**kernel, "pads": (1,) * count + (0,) * count})
        yield Case("MaxPool", (data,), kernel, outputs=2, moves=True)
        for op in ("GlobalAveragePool", "GlobalMaxPool"):
            yield Case(op, (data,))
    for auto_pad in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for op in ("MaxPool", "AveragePool"):
            attributes: dict[str, Attribute] = {"kernel_shape": (3, 3), "strides": (2, 2), "auto_pad": auto_pad}
            yield Case(op, (Data(IMAGE),), attributes, moves=op == "MaxPool")
    yield Case("LpPool", (Data(IMAGE),), {"kernel_shape": (2, 2), "p": 1})


def _einsum() -> Iterator[Case]:
    heads = (1, 4, 8, 16)
    equations = {
        "ij,jk->ik": ((8, 16), (16, 4)),
        "bij,bjk->bik": ((2, 8, 16), (2, 16, 4)),
        "bhij,bhjk->bhik": (heads, (1, 4, 16, 8)),
        "bhid,bhjd->bhij": (heads, heads),
        "bid,bjd->bij": ((2, 8, 16), (2, 4, 16)),
        "bhwc,hkc->bhwk": (heads, (4, 8, 16)),
        "nlhd,nshd->nhls": ((1, 8, 4, 16), (1, 8, 4, 16)),
        "abc,cd->abd": ((1, 8, 16), (16, 4)),
        "i,j->ij": ((8,), (16,)),
        "ij->ji": ((8, 16),),
        "bij->b": ((2, 8, 16),),
        "ii->i": ((8, 8),),
    }
    for equation, shapes in equations.items():
        yield Case("Einsum", tuple(Data(shape) for shape in shapes), {"equation": equation})


def _recurrent() -> Iterator[Case]:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}
    for op, count in gates.items():
        for direction, directions in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            wide = 16 * count
            weights: tuple[Input, ...] = (
                Data((4, 1, 8)), Parameter((directions, wide, 8)), Parameter((directions, wide, 16)),
                Parameter((directions, 2 * wide), "activation"),
            )  # fmt: skip
            base: dict[str, Attribute] = {"hidden_size": 16, "direction": direction}
            yield Case(op, weights, base, outputs=2)
            if direction == "forward":
                state = Data((directions, 1, 16), -1, 1)
                states = (state, state) if op == "LSTM" else (state,)
                yield Case(op, (*weights, None, *states), base, outputs=len(states) + 1)
                yield Case(op, weights[:3], base)
                yield Case(op, (Data((4, 2, 8)), *weights[1:]), base)
                if op == "GRU":
                    yield Case(op, weights, {**base, "linear_before_reset": 1})
                yield Case(op, weights, {**base, "clip": 2.0})


def _integer_products() -> Iterator[Case]:
    left = Data((8, 16), 1, 9, "uint8")
    yield Case("MatMulInteger", (left, Data((16, 4), 1, 9, "int8")))
    yield Case("ConvInteger", (Data(IMAGE, 1, 9, "uint8"), Data((8, 4, 3, 3), 1, 9, "int8")))
    scale, zero = Fixed(0.1, "float32"), Fixed(3, "uint8")
    inputs = (left, scale, zero, Data((16, 4), 1, 9, "uint8"), scale, zero, scale, zero)
    yield Case("QLinearMatMul", inputs)


def _packed_products() -> Iterator[Case]:
    """Yield products of packed weights: bits, blocks and sizes, with zero points and without."""
    rows, twice, heads = (1, 8, 64), (2, 8, 64), (1, 2, 8, 64)
    variants = (
        (rows, 4, 32, 8), (rows, 4, 16, 8), (rows, 4, 64, 8), (rows, 8, 32, 8), (rows, 4, 32, 7), (rows, 2, 32, 8),
        ((1, 1, 64), 4, 32, 8), ((1, 8, 48), 4, 32, 8), ((1, 8, 160), 4, 32, 8), (twice, 4, 32, 8), (heads, 4, 32, 8),
        ((8, 64), 4, 32, 8),
    )  # fmt: skip
    for shape, bits, block, channels in variants:
        blocks = -(-shape[-1] // block)
        sizes: dict[str, Attribute] = {"K": shape[-1], "N": channels, "bits": bits, "block_size": block}
        weight = Parameter((channels, blocks, block * bits // 8), low=0, high=256, dtype="uint8")
        scales = Parameter((channels, blocks), low=0.01, high=0.1)
        points = Parameter((channels, -(-blocks * bits // 8)), low=0, high=256, dtype="uint8")
        for inputs in ((Data(shape), weight, scales), (Data(shape), weight, scales, points)):
            yield Case("MatMulNBits", inputs, sizes, domain="com.microsoft")
        bias = (Data(shape), weight, scales, None, None, Parameter((channels,), "bias"))
        yield Case("MatMulNBits", bias, sizes, domain="com.microsoft")
