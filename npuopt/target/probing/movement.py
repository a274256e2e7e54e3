"""Cases of ops that move, pick, shape or make data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.target.probing.case import Attribute, Case, Data, Fixed, Parameter
from npuopt.target.probing.elementwise import DIMS, SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = (1, 4, 8, 8)
NEAREST: tuple[dict[str, Attribute], ...] = (
    {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    {"coordinate_transformation_mode": "pytorch_half_pixel", "nearest_mode": "round_prefer_floor"},
    {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_floor"},
)
"""How the nearest element is found, in the ways that exporters write."""


def cases() -> Iterator[Case]:
    """Yield the cases of this family."""
    yield from _reshaping()
    yield from _joining()
    yield from _slicing()
    yield from _gathering()
    yield from _scattering()
    yield from _padding()
    yield from _resizing()
    yield from _making()


def _at_run_time(value: tuple[int, ...] | tuple[float, ...], dtype: str = "int64") -> Fixed:
    return Fixed(value, dtype, run_time=True)


def _reshaping() -> Iterator[Case]:
    for rank in range(1, 7):
        shape = (2, 3, 4, 1, 1, 1)[:rank]
        for goal in ((-1,), (4, 6), (2, 3, 4), (1, 2, 3, 4), (1, 1, 2, 3, 4), (1, 1, 1, 2, 3, 4)):
            if rank >= 3:
                yield Case("Reshape", (Data(shape), Fixed(goal)), moves=True)
        yield Case("Flatten", (Data(DIMS[:rank]),), {"axis": min(1, rank)}, moves=True)
        yield Case("Unsqueeze", (Data(DIMS[:rank]), Fixed((0,))), moves=True)
        if rank > 1:
            order = tuple(reversed(range(rank)))
            yield Case("Transpose", (Data(DIMS[:rank]),), {"perm": order}, moves=True)
            swapped = (*range(rank - 2), rank - 1, rank - 2)
            yield Case("Transpose", (Data(DIMS[:rank]),), {"perm": swapped}, moves=True)
            yield Case("Squeeze", (Data((1, *DIMS[: rank - 1])), Fixed((0,))), moves=True)
    yield Case("Reshape", (Data(SHAPE), Fixed((0, -1))), moves=True)
    yield Case("Reshape", (Data(SHAPE), Fixed((8, 16))), {"allowzero": 1}, moves=True)
    yield Case("Reshape", (Data(SHAPE), _at_run_time((8, 16))), moves=True)
    yield Case("Reshape", (Data((2, 0, 4)), Fixed((0, 4))), {"allowzero": 1}, moves=True)
    yield Case("Squeeze", (Data(SHAPE), _at_run_time((0,))), moves=True)
    yield Case("Unsqueeze", (Data(SHAPE), _at_run_time((0,))), moves=True)
    for axis in (0, 2, -1):
        yield Case("Flatten", (Data(IMAGE),), {"axis": axis}, moves=True)
    yield Case("Squeeze", (Data((1, 8, 1, 16)),), moves=True)
    yield Case("Unsqueeze", (Data((8, 16)), Fixed((0, 3))), moves=True)
    for perm in ((0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3), (3, 2, 1, 0), (1, 0, 2, 3)):
        yield Case("Transpose", (Data(IMAGE),), {"perm": perm}, moves=True)


def _joining() -> Iterator[Case]:
    for rank in range(1, 7):
        yield Case("Concat", (Data(DIMS[:rank]),) * 2, {"axis": rank - 1}, moves=True)
        yield Case("Tile", (Data(DIMS[:rank]), Fixed((2,) * rank)), moves=True)
        yield Case("Expand", (Data((1, *DIMS[1:rank])), Fixed((3, *DIMS[1:rank]))), moves=True)
    for count in (1, 3, 8):
        yield Case("Concat", (Data(IMAGE),) * count, {"axis": 1}, moves=True)
    for axis in (0, 2, -1):
        yield Case("Concat", (Data(IMAGE), Data(IMAGE)), {"axis": axis}, moves=True)
    yield Case("Concat", (Data(IMAGE), Parameter(IMAGE, "activation")), {"axis": 1}, moves=True)
    yield Case("Concat", (Data((2, 0, 4)), Data((2, 3, 4))), {"axis": 1}, moves=True)
    yield Case("Concat", (Data(IMAGE, -1, 1), Data(IMAGE, -5, 5)), {"axis": 1})
    for goal in ((2, 8, 16), (4, 1, 8, 16), (1, 8, 16), (2, 1, 4, 8, 16)):
        yield Case("Expand", (Data(SHAPE), Fixed(goal)), moves=True)
    yield Case("Expand", (Data((1, 2, 1, 8, 16)), Fixed((1, 2, 3, 8, 16))), moves=True)
    yield Case("Expand", (Data((16,)), Fixed((8, 1))), moves=True)
    yield Case("Expand", (Data(SHAPE), _at_run_time((2, 8, 16))), moves=True)
    yield Case("Tile", (Data(SHAPE), _at_run_time((2, 1, 1))), moves=True)
    for order in ("DCR", "CRD"):
        for block in (2, 4):
            yield Case("DepthToSpace", (Data((1, 32, 4, 4)),), {"blocksize": block, "mode": order}, moves=True)
    for block in (2, 4):
        yield Case("SpaceToDepth", (Data(IMAGE),), {"blocksize": block}, moves=True)


def _slicing() -> Iterator[Case]:
    for rank in range(1, 7):
        data = Data((*DIMS[: rank - 1], 8))
        yield Case("Slice", (data, Fixed((1,)), Fixed((6,)), Fixed((rank - 1,))), moves=True)
        yield Case("Split", (data, Fixed((3, 5))), {"axis": rank - 1}, outputs=2, moves=True)
    data = Data((2, 8, 16))
    for start, end, axes, step in (
        ((0,), (99,), (2,), (2,)), ((-1,), (-99,), (2,), (-1,)), ((-4,), (-1,), (1,), (1,)),
        ((1, 2), (5, 9), (1, 2), (1, 3)), ((7,), (0,), (1,), (-2,)), ((0, 0, 0), (1, 4, 4), (0, 1, 2), (1, 1, 1)),
    ):  # fmt: skip
        yield Case("Slice", (data, Fixed(start), Fixed(end), Fixed(axes), Fixed(step)), moves=True)
    yield Case("Slice", (data, Fixed((0, 1)), Fixed((1, 5))), moves=True)
    yield Case("Slice", (data, Fixed((1,), "int32"), Fixed((6,), "int32"), Fixed((2,), "int32")), moves=True)
    for axis, outputs in ((1, 2), (2, 4), (-1, 8), (0, 2)):
        yield Case("Split", (data,), {"axis": axis, "num_outputs": outputs}, outputs=outputs, moves=True)
    yield Case("Split", (data,), {"axis": 2, "num_outputs": 3}, outputs=3, moves=True)
    start, end, axes, step = Fixed((1,)), Fixed((6,)), Fixed((2,)), Fixed((1,))
    yield Case("Slice", (data, _at_run_time((1,)), end, axes, step), moves=True)
    yield Case("Slice", (data, start, _at_run_time((6,)), axes, step), moves=True)
    yield Case("Slice", (data, start, end, _at_run_time((2,)), step), moves=True)
    yield Case("Slice", (data, start, end, axes, _at_run_time((1,))), moves=True)
    yield Case("Split", (data, _at_run_time((3, 5))), {"axis": 1}, outputs=2, moves=True)
    yield Case("Compress", (data, Fixed((True, False), "bool")), {"axis": 0}, moves=True)
    yield Case("CenterCropPad", (data, Fixed((2, 4, 20))), moves=True)
    for attributes in ({"time_axis": 0, "batch_axis": 1}, {"time_axis": 1, "batch_axis": 0}):
        lengths = Fixed((3,) * (8 if attributes["batch_axis"] else 2))
        yield Case(
            "ReverseSequence",
            (Data((2, 8, 4) if attributes["batch_axis"] == 0 else (4, 8, 4)), lengths),
            attributes,
            moves=True,
        )


def _gathering() -> Iterator[Case]:
    for dtype in ("int64", "int32"):
        for rank in range(1, 7):
            yield Case("Gather", (Data(DIMS[:rank]), Data((3,), 0, 2, dtype)), {"axis": rank - 1}, moves=True)
        for shape in ((), (3,), (1, 8), (2, 3, 2)):
            yield Case("Gather", (Data((8, 16)), Data(shape, 0, 8, dtype)), {"axis": 0}, moves=True)
        yield Case("Gather", (Parameter((32, 16), "activation"), Data((1, 8), 0, 32, dtype)), {"axis": 0}, moves=True)
        yield Case("Gather", (Data((2, 8, 16)), Fixed((0, 3), dtype)), {"axis": 1}, moves=True)
        yield Case("Gather", (Data((2, 8, 16)), Fixed((-1,), dtype)), {"axis": 1}, moves=True)
        yield Case("Gather", (Data((2, 8, 16)), Fixed(2, dtype)), {"axis": 1}, moves=True)
        for rank in range(1, 6):
            shape = DIMS[:rank]
            yield Case("GatherElements", (Data(shape), Data(shape, 0, 2, dtype)), {"axis": rank - 1}, moves=True)
        yield Case("GatherElements", (Data((4, 8)), Data((2, 8), 0, 4, dtype)), {"axis": 0}, moves=True)
    for batch, shape in ((0, (3, 2)), (0, (3, 1)), (0, (2, 3, 2)), (1, (2, 1)), (1, (2, 3, 1))):
        yield Case("GatherND", (Data((2, 8, 16)), Data(shape, 0, 2, "int64")), {"batch_dims": batch}, moves=True)
    yield Case("GatherND", (Data((2, 8, 16)), Fixed((0, 1))), moves=True)


def _scattering() -> Iterator[Case]:
    for reduction in ("none", "add", "mul", "max", "min"):
        attributes: dict[str, Attribute] = {"reduction": reduction}
        update = Data((2, 16))
        yield Case("ScatterND", (Data((8, 16)), Fixed((1, 3), shape=(2, 1)), update), attributes, moves=True)
        elements = Data((2, 16), 0, 8, "int64")
        yield Case("ScatterElements", (Data((8, 16)), elements, update), {**attributes, "axis": 0}, moves=True)
    for axis in (1, -1, 0):
        index = Data((8, 4) if axis else (2, 16), 0, 2, "int64")
        yield Case("ScatterElements", (Data((8, 16)), index, Data(index.shape)), {"axis": axis}, moves=True)
    cache, fresh = Data((1, 2, 8, 16)), Data((1, 2, 1, 16))
    yield Case("TensorScatter", (cache, fresh, Data((1,), 0, 7, "int64")), {"axis": 2}, moves=True)
    yield Case("OneHot", (Data((4,), 0, 8, "int64"), Fixed(8), Fixed((0.0, 1.0), "float32")))
    yield Case("OneHot", (Data((4,), 0, 8, "int64"), Fixed(8), Fixed((0.0, 1.0), "float32")), {"axis": 0})
    for rank in range(2, 5):
        indices = Data(DIMS[:rank], 0, 8, "int64")
        yield Case("OneHot", (indices, Fixed(8), Fixed((0.0, 1.0), "float32")), {"axis": -1})
    yield Case("OneHot", (Data((4,), 0, 8, "int64"), Fixed(8, run_time=True), Fixed((0.0, 1.0), "float32")))
    yield Case("OneHot", (Data((4,), 0, 8, "int64"), Fixed(8), Fixed((0.0, 1.0), "float32", run_time=True)))


def _padding() -> Iterator[Case]:
    for rank in range(1, 7):
        pads = Fixed((0,) * (rank - 1) + (1,) + (0,) * (rank - 1) + (2,))
        yield Case("Pad", (Data((*DIMS[: rank - 1], 8)), pads), {"mode": "constant"}, moves=True)
    for mode in ("constant", "reflect", "edge", "wrap"):
        for pads in (
            (0, 0, 1, 1, 0, 0, 1, 1),
            (0, 1, 2, 3, 0, 1, 3, 2),
            (1, 0, 0, 0, 0, 0, 0, 0),
            (0, 0, -1, 0, 0, 0, 0, -2),
        ):
            yield Case("Pad", (Data((2, 4, 8, 8)), Fixed(pads)), {"mode": mode}, moves=True)
    for value in (0.0, 1.0, -2.5):
        yield Case("Pad", (Data(IMAGE), Fixed((0, 0, 1, 1, 0, 0, 1, 1)), Fixed(value, "float32")), moves=True)
    yield Case("Pad", (Data(IMAGE), _at_run_time((0, 0, 1, 1, 0, 0, 1, 1))), moves=True)
    yield Case("Pad", (Data(IMAGE), Fixed((1, 1)), None, _at_run_time((3,))), moves=True)
    value = Fixed(1.0, "float32", run_time=True)
    yield Case("Pad", (Data(IMAGE), Fixed((0, 0, 1, 1, 0, 0, 1, 1)), value), moves=True)
    yield Case("Pad", (Data(IMAGE), Fixed((1, 1)), None, Fixed((3,))), moves=True)


def _resize(
    shape: tuple[int, ...],
    attributes: dict[str, Attribute],
    *,
    scales: tuple[float, ...] = (),
    sizes: tuple[int, ...] = (),
) -> Case:
    grown = (Fixed(scales, "float32"),) if scales else (None, Fixed(sizes))
    return Case("Resize", (Data(shape), None, *grown), attributes, moves=True)


def _resizing() -> Iterator[Case]:
    transforms = ("half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners", "pytorch_half_pixel")
    twice, half = (1.0, 1.0, 2.0, 2.0), (1.0, 1.0, 0.5, 0.5)
    for rates, sizes in ((_at_run_time(twice, "float32"), None), (None, _at_run_time((1, 4, 16, 16)))):
        yield Case("Resize", (Data(IMAGE), None, rates, sizes), {"mode": "linear"}, moves=True)
    crop: dict[str, Attribute] = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    region = _at_run_time((0.0, 0.0, 0.1, 0.1, 1.0, 1.0, 0.9, 0.9), "float32")
    yield Case("Resize", (Data(IMAGE), region, Fixed(twice, "float32")), crop, moves=True)
    for mode in ("nearest", "linear", "cubic"):
        base: dict[str, Attribute] = {"mode": mode}
        for transform in transforms:
            placed = {**base, "coordinate_transformation_mode": transform}
            if mode != "nearest":
                yield _resize(IMAGE, placed, scales=twice)
                continue
            for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
                yield _resize(IMAGE, {**placed, "nearest_mode": rounding}, scales=twice)
        for scales in (half, (1.0, 1.0, 3.0, 3.0), (1.0, 1.0, 1.0, 2.0), (1.0, 1.0, 1.5, 1.5)):
            yield _resize(IMAGE, base, scales=scales)
        yield _resize(IMAGE, base, sizes=(1, 4, 13, 11))
        yield _resize(IMAGE, base, sizes=(1, 4, 16, 16))
        yield _resize(IMAGE, {**base, "axes": (2, 3)}, sizes=(13, 11))
        yield _resize((8, 8), base, scales=(2.0, 2.0))
        yield _resize((1, 8, 8, 4), base, scales=(1.0, 2.0, 2.0, 1.0))
        yield _resize((1, 4, 8), base, scales=(1.0, 1.0, 2.0))
        yield _resize((1, 4, 4, 4, 4), base, scales=(1.0, 1.0, 2.0, 2.0, 2.0))
        yield _resize(IMAGE, {**base, "antialias": 1}, scales=half)
        yield _resize(IMAGE, {**base, "keep_aspect_ratio_policy": "not_larger", "axes": (2, 3)}, sizes=(13, 11))
    yield _resize(IMAGE, {"mode": "cubic", "cubic_coeff_a": -0.5}, scales=twice)
    yield _resize(IMAGE, {"mode": "cubic", "exclude_outside": 1}, scales=twice)
    for placed in NEAREST:
        for rate in (0.5, 1.5, 3.0):
            yield _resize(IMAGE, {"mode": "nearest", **placed}, scales=(1.0, 1.0, rate, rate))
        for size in (4, 13, 15):
            yield _resize(IMAGE, {"mode": "nearest", **placed}, sizes=(1, 4, size, size))
    yield from _sampling()


def _sampling() -> Iterator[Case]:
    grid = Data((1, 6, 6, 2), -1, 1)
    for mode in ("linear", "nearest", "cubic"):
        for padding in ("zeros", "border", "reflection"):
            for corners in (0, 1):
                how: dict[str, Attribute] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                yield Case("GridSample", (Data(IMAGE), grid), how)
    yield Case("GridSample", (Data((1, 2, 4, 4, 4)), Data((1, 3, 3, 3, 3), -1, 1)))
    yield Case("AffineGrid", (Data((1, 2, 3), -1, 1), Fixed((1, 4, 8, 8))))
    yield Case("Col2Im", (Data((1, 16, 16)), Fixed((8, 8)), Fixed((2, 2))), {"strides": (2, 2)})


def _making() -> Iterator[Case]:
    data = Data(SHAPE)
    yield Case("Shape", (data,))
    yield Case("Size", (data,))
    yield Case("NonZero", (data,))
    yield Case("Unique", (Data((8,), 0, 4, "int64"),))
    yield Case("EyeLike", (Data((8, 8)),))
    yield Case("ConstantOfShape", (Fixed((2, 3)),))
    yield Case("Range", (Fixed(0), Fixed(8), Fixed(1)))
    for upper in (0, 1):
        yield Case("Trilu", (Data((8, 8)),), {"upper": upper}, moves=True)
    yield Case("Trilu", (Data((1, 8, 8)), Fixed(1)), moves=True)
    boxes, scores = Data((1, 6, 4), 0, 1), Data((1, 1, 6), 0, 1)
    yield Case("NonMaxSuppression", (boxes, scores, Fixed((2,)), Fixed((0.5,), "float32")))
    yield Case("Det", (Data((4, 4)),))
    yield Case("DFT", (Data((1, 8, 1)),))
    yield Case("HannWindow", (Fixed(8),))
    weight, offset = Parameter((4, 4, 3, 3), "weight", 0), Data((1, 18, 6, 6), -0.3, 0.3)
    yield Case("DeformConv", (Data(IMAGE), weight, offset), {"kernel_shape": (3, 3)})
    yield Case(
        "MaxUnpool",
        (Data((1, 1, 2, 2)), Data((1, 1, 2, 2), 0, 16, "int64")),
        {"kernel_shape": (2, 2), "strides": (2, 2)},
    )
