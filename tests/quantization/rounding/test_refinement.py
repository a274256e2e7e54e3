"""Scales and integers of blocks, gone over again once all are rounded."""

from itertools import pairwise

import numpy as np
import pytest

from npuopt.quantization.blocks import BlockFormat, block_values, round_blocks
from npuopt.quantization.rounding.refinement import refine

CHANNELS, FEATURES = 5, 40


def moments(seed):
    """Return mean products of features that go together."""
    features = np.random.default_rng(seed).normal(0, 1, (6, FEATURES))
    return features.T @ features / 6 + 0.1 * np.eye(FEATURES)


def worth(rows, blocks, held, second):
    """Return what the errors of each row cost."""
    error = block_values(blocks, held).astype(np.float64) - rows
    return np.einsum("rf,fg,rg->r", error, second, error)


@pytest.mark.parametrize("held", [BlockFormat("int4", 8), BlockFormat("uint4", 16, symmetric=False)])
def test_no_sweep_makes_a_row_worse(held):
    rows = np.random.default_rng(0).normal(0, 1, (CHANNELS, FEATURES)).astype(np.float32)
    second = moments(1)
    first = round_blocks(rows, held)
    costs = [worth(rows, refine(rows, first, held, second, sweeps), held, second) for sweeps in (0, 1, 2, 4)]
    assert np.allclose(costs[0], worth(rows, first, held, second), rtol=1e-5)
    for before, after in pairwise(costs):
        assert (after <= before * 1.0001).all()
    assert costs[1].sum() < 0.8 * costs[0].sum(), "errors were free to cancel"


def test_integers_stay_on_the_grid_and_scales_above_zero():
    held = BlockFormat("int4", 8)
    rows = np.random.default_rng(3).normal(0, 1, (CHANNELS, FEATURES)).astype(np.float32)
    rows[:, :8] = 0  # a block of nothing
    rows[0, 9] = 1e4  # and an outlier
    refined = refine(rows, round_blocks(rows, held), held, moments(2))
    assert refined.integers.dtype == np.int8
    assert refined.integers.min() >= -8
    assert refined.integers.max() <= 7
    assert (refined.scales > 0).all()
    assert np.isfinite(block_values(refined, held)).all()


def test_one_scale_for_a_channel_is_left_as_it_is():
    held = BlockFormat("int8")
    rows = np.random.default_rng(0).normal(0, 1, (CHANNELS, FEATURES)).astype(np.float32)
    first = round_blocks(rows, held)
    assert refine(rows, first, held, moments(0)) is first
