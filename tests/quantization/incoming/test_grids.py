import numpy as np
import pytest

from npuopt.quantization.arithmetic import dequantize, quantize
from npuopt.quantization.encodings import Encoding
from npuopt.quantization.incoming.grids import grid_of


@pytest.mark.parametrize("dtype", ["int4", "int8"])
def test_integers_are_found_again_from_the_floats_they_became(dtype):
    generator = np.random.default_rng(0)
    limit = {"int4": 8, "int8": 128}[dtype]
    integers = generator.integers(-limit, limit, (6, 40)).astype(np.int8)
    scales = generator.uniform(1e-4, 2.0, (6, 1)).astype(np.float32)
    folded = generator.uniform(0.1, 9.0, (6, 1)).astype(np.float32)
    array = integers.astype(np.float32) * scales * folded
    found = grid_of(array, dtype, 0)
    assert found is not None
    np.testing.assert_array_equal(quantize(array, found).astype(np.int8), integers)
    np.testing.assert_allclose(dequantize(quantize(array, found), found), array, rtol=1e-6)


def test_along_the_last_axis_and_for_the_whole_tensor():
    array = np.array([[3, 5], [-1, 2]], np.float32) * np.array([0.5, 0.1], np.float32)
    assert grid_of(array, "int8", 1) == Encoding(
        dtype="int8", scale=(0.5, float(np.float32(0.1))), zero_point=(0,), axis=1
    )
    assert grid_of(array, "int8", None) == Encoding(dtype="int8", scale=(float(np.float32(0.1)),), zero_point=(0,))


def test_a_channel_of_zeros_lies_on_any_grid():
    found = grid_of(np.array([[0, 0, 0], [1, 2, 7]], np.float32), "int4", 0)
    assert found is not None
    assert found.scale == (1.0, 1.0)


def test_plain_floats_lie_on_none():
    array = np.random.default_rng(1).normal(size=(3, 50)).astype(np.float32)
    assert grid_of(array, "int8", 0) is None
    assert grid_of(array * np.inf, "int8", 0) is None


def test_wide_and_unsigned_types_are_not_tried():
    array = np.ones((2, 2), np.float32)
    assert grid_of(array, "int16", 0) is None
    assert grid_of(array, "uint8", 0) is None
