"""Quantization as numbers: calibration data, ranges, encodings. Graph edits are passes (`passes/quantize`)."""

from npuopt.quantization.accuracy.errors import TensorError, tensor_errors
from npuopt.quantization.assignment.assign import encodings_for
from npuopt.quantization.calibration.calibrate import calibrate
from npuopt.quantization.calibration.methods import ByBits, Entropy, LeastSquares, MinMax, MovingAverage, Percentile
from npuopt.quantization.encodings import Encoding, Encodings
from npuopt.quantization.ranges import Range, Ranges
from npuopt.quantization.samples.data import Samples, open_samples

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
