"""Weights in blocks: what is rounded how, and which search finds which scales."""

import ml_dtypes
import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.quantization.blocks import BlockFormat, Rounding, block_values, round_blocks


def _weights(channels: int, features: int, *, seed: int = 0) -> np.ndarray:
    """Return weights as trained ones are: bell-shaped, with a few far out."""
    draw = np.random.default_rng(seed)
    weights = draw.standard_normal((channels, features)).astype(np.float32) * 0.02
    weights[draw.random(weights.shape) < 0.01] *= 5
    return weights


def _error(weights: np.ndarray, held: BlockFormat, method: Rounding, moments: np.ndarray | None = None) -> np.ndarray:
    return block_values(round_blocks(weights, held, moments, method=method), held) - weights


def test_a_block_that_its_integers_hold_exactly_stays_what_it_is() -> None:
    weights = np.array([[-7, -2, 0, 7, 3.5, 0.5, -1, 2]], np.float32)
    blocks = round_blocks(weights, BlockFormat("int4", 4))
    assert blocks.integers.tolist() == [[-7, -2, 0, 7, 7, 1, -2, 4]]
    assert blocks.scales.tolist() == [[1.0, 0.5]]
    assert blocks.zero_points is None


def test_asymmetric_blocks_have_zero_points_of_their_own() -> None:
    weights = np.array([[0, 5, 10, 15, -3, -2, -1, 12]], np.float32)
    blocks = round_blocks(weights, BlockFormat("uint4", 4, symmetric=False))
    assert blocks.integers.tolist() == [[0, 5, 10, 15, 0, 1, 2, 15]]
    assert blocks.zero_points is not None
    assert blocks.zero_points.tolist() == [[0, 3]]


def test_symmetric_unsigned_blocks_have_zero_in_the_middle() -> None:
    held = BlockFormat("uint4", None)
    blocks = round_blocks(np.array([[-7.0, 0.0, 7.0]]), held)
    assert held.middle == 8
    assert blocks.integers.tolist() == [[1, 8, 15]]


def test_the_last_block_may_be_shorter_than_the_others() -> None:
    weights = _weights(3, 40)
    blocks = round_blocks(weights, BlockFormat("int8", 32))
    assert blocks.integers.shape == (3, 40)
    assert blocks.scales.shape == (3, 2)
    np.testing.assert_allclose(block_values(blocks, BlockFormat("int8", 32)), weights, atol=0.002)


@pytest.mark.parametrize("held", [BlockFormat("int4", 32), BlockFormat("uint4", 32, symmetric=False)])
def test_a_search_has_less_squared_error_than_covering_the_range(held: BlockFormat) -> None:
    weights = _weights(64, 128)
    nearest, searched = (np.sum(_error(weights, held, method) ** 2) for method in ("nearest", "least-squares"))
    assert searched < 0.95 * nearest


@pytest.mark.parametrize("held", [BlockFormat("int4", 32), BlockFormat("uint4", 32, symmetric=False)])
def test_half_quadratic_rounding_has_less_error_in_its_own_norm(held: BlockFormat) -> None:
    weights = _weights(64, 128)

    def norm(method: Rounding) -> float:
        return float((np.abs(_error(weights, held, method)) ** 0.7).sum())

    assert norm("half-quadratic") < norm("nearest")


def test_moments_buy_exactness_where_features_are_large() -> None:
    weights = _weights(64, 32)
    moments = np.diag(np.where(np.arange(32) < 4, 100.0, 1.0))
    held = BlockFormat("int4", 32)
    weighed = (_error(weights, held, "least-squares", moments) ** 2)[:, :4].sum()
    assert weighed < 0.8 * (_error(weights, held, "least-squares") ** 2)[:, :4].sum()


def test_rows_may_be_handed_in_parts() -> None:
    weights, held = _weights(600, 640), BlockFormat("int4", 32)
    whole = round_blocks(weights, held)
    parts = [round_blocks(part, held) for part in np.array_split(weights, 7)]
    assert np.array_equal(whole.integers, np.concatenate([part.integers for part in parts]))
    assert np.array_equal(whole.scales, np.concatenate([part.scales for part in parts]))


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_scales_are_numbers_of_the_type_that_is_asked_for(kind: type) -> None:
    scales = round_blocks(_weights(8, 64), BlockFormat("int4", 32), scale_type=np.dtype(kind)).scales
    assert np.array_equal(scales, scales.astype(kind).astype(np.float32))
    assert (scales > 0).all()


@pytest.mark.parametrize("method", ["nearest", "least-squares", "half-quadratic"])
def test_blocks_of_zeros_and_of_tiny_numbers_get_usable_scales(method: Rounding) -> None:
    weights = np.zeros((2, 64), np.float32)
    weights[1] = 1e-42
    blocks = round_blocks(weights, BlockFormat("uint4", 32, symmetric=False), method=method)
    assert (blocks.scales == 1).all()
    assert not block_values(blocks, BlockFormat("uint4", 32, symmetric=False)).any()


def test_numbers_that_are_none_are_refused() -> None:
    weights = _weights(2, 32)
    weights[1, 5] = np.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        round_blocks(weights, BlockFormat("int4", 32))
