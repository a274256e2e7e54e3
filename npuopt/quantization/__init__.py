"""Quantization as numbers: calibration data, ranges, encodings. Graph edits are passes (`passes/quantize`)."""

from npuopt.quantization.assignment import encodings_for
from npuopt.quantization.calibration import calibrate
from npuopt.quantization.data import Samples, open_samples
from npuopt.quantization.encodings import Encoding, Encodings
from npuopt.quantization.errors import TensorError, tensor_errors
from npuopt.quantization.methods import ByBits, Entropy, LeastSquares, MinMax, MovingAverage, Percentile
from npuopt.quantization.ranges import Range, Ranges

__all__ = [
    "ByBits",
    "Encoding",
    "Encodings",
    "Entropy",
    "LeastSquares",
    "MinMax",
    "MovingAverage",
    "Percentile",
    "Range",
    "Ranges",
    "Samples",
    "TensorError",
    "calibrate",
    "encodings_for",
    "open_samples",
    "tensor_errors",
]
