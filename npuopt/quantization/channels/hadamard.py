"""Orthogonal matrices that spread every channel over all others."""

from __future__ import annotations

from math import isqrt

import numpy as np


def rotation(size: int, seed: int = 0) -> np.ndarray:
    """Return an orthogonal [size, size] matrix in float64: a Hadamard matrix with signs drawn from the seed.

    With it, each channel becomes the sum of all others with equal weights, so that one outlier is spread evenly. Where
    no Hadamard matrix of the size is built here, what is left of the size once the powers of two and Paley's orders are
    out is a drawn orthogonal matrix.

    Source: Paley, "On orthogonal matrices", 1933 (first construction); signs: Ashkboos et al., "QuaRot", NeurIPS 2024.
    """
    generator = np.random.default_rng(seed)
    built, left = np.ones((1, 1)), size
    while left > 1 and left % 2 == 0 and not _has_paley(left):
        built, left = np.kron(built, np.array([[1.0, 1.0], [1.0, -1.0]])), left // 2
    if left > 1:
        odd = _paley(left) if _has_paley(left) else np.linalg.qr(generator.normal(size=(left, left)))[0] * left**0.5
        built = np.kron(built, odd)
    signs = generator.choice([-1.0, 1.0], size)
    return signs[:, None] * built / size**0.5


def _has_paley(order: int) -> bool:
    prime = order - 1
    return prime % 4 == 3 and all(prime % divisor for divisor in range(2, isqrt(prime) + 1))


def _paley(order: int) -> np.ndarray:
    """Return Paley's Hadamard matrix of the first kind: of squares modulo a prime, one less than the order."""
    prime = order - 1
    character = -np.ones(prime)
    character[np.arange(1, prime) ** 2 % prime] = 1
    character[0] = 0
    skew = np.zeros((order, order))
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = character[(np.arange(prime)[:, None] - np.arange(prime)) % prime]
    return skew + np.eye(order)
