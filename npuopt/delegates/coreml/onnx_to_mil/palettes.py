# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""Palettized weights: every element is an index into a small table of values."""

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import types

FEWEST = 2048
"""Elements from which on a weight is worth a table: a table of 16 fp16 values takes 32 bytes."""
ROUNDS = 12
SAMPLE = 1 << 16


def palettized(weight: np.ndarray, bits: int) -> tuple:
    """Return a weight as indices of `bits` bits into its palette."""
    values = _clusters(weight, 2**bits)
    middles = (values[1:] + values[:-1]) / 2
    indices = np.searchsorted(middles, weight).astype(getattr(types, f"np_uint{bits}_dtype", np.uint8))
    table = values.astype(np.float32).reshape(*[1] * weight.ndim, values.size, 1)
    return mb.constexpr_lut_to_dense(indices=indices, lut=table), indices


def _clusters(weight: np.ndarray, count: int) -> np.ndarray:
    """Place `count` values by Lloyd's rounds, from even shares of the sorted weight on (k-means in one dimension)."""
    data = np.sort(weight.reshape(-1).astype(np.float64))
    data = data[:: max(1, data.size // SAMPLE)]
    values = np.quantile(data, (np.arange(count) + 0.5) / count)
    sums = np.concatenate([[0.0], np.cumsum(data)])
    for _ in range(ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(data, (values[1:] + values[:-1]) / 2), [data.size]])
        sizes = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(sizes, 1)
        values = np.where(sizes > 0, means, values)
    return values
