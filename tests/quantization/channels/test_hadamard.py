"""Rotations: orthogonal, even, and the same for the same seed."""

import numpy as np
import pytest

from npuopt.quantization.channels.hadamard import rotation


@pytest.mark.parametrize("size", [1, 2, 3, 12, 36, 64, 192, 640])
def test_what_is_rotated_keeps_its_length_and_turns_back(size):
    matrix = rotation(size, seed=3)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)


@pytest.mark.parametrize("size", [2, 12, 64, 192, 640, 896])
def test_an_outlier_is_spread_evenly_over_all_channels(size):
    outlier = np.zeros(size)
    outlier[size // 3] = 100.0
    np.testing.assert_allclose(np.abs(outlier @ rotation(size)), 100.0 / size**0.5)


def test_the_seed_draws_the_signs():
    assert (rotation(16, seed=1) == rotation(16, seed=1)).all()
    assert (rotation(16, seed=1) != rotation(16, seed=2)).any()
