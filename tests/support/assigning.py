"""Encodings of a small graph on the chip for tests, from ranges written beside it."""

import numpy as np
import onnx_ir as ir
import pytest

from npuopt.quantization import Range, Ranges, encodings_for
from npuopt.quantization.roles import float_values
from support.integer_chip import integer_chip
from support.rewrites import model_from


def assign(text, scheme="a8w8", weights=None, chip=None, wide=(), precisions=None, **ranges):
    """Return the encodings of a graph whose tensors range from -1 to 1 where nothing else is said."""
    model = model_from(text)
    for name, array in (weights or {}).items():
        model.graph.initializers[name].const_value = _tensor(array)
    seen = {value.name: Range(-1.0, 1.0) for value in float_values(model)}
    seen |= {name: found if isinstance(found, Range) else Range(*found) for name, found in ranges.items()}
    chip = chip or integer_chip()
    encodings = encodings_for(model, chip, scheme, Ranges(seen), wide=wide, precisions=precisions or {})
    encodings.check(model)
    return encodings


def _tensor(array):
    return ir.tensor(np.asarray(array, np.float32))


def covers(encoding):
    return pytest.approx(encoding.range, abs=encoding.scale[0] * 0.51)
