"""What quantization steps work on, from a graph in ONNX text and arrays."""

import numpy as np

from npuopt.quantization import calibrate, open_samples
from npuopt.quantization.steps import Held, Work
from support.integer_chip import integer_chip
from support.rewrites import model_from


def work_on(text, folder, scheme="a8w8", chip=None, **arrays):
    """Return a work with calibrated ranges, on arrays [samples, ...] by input."""
    model = model_from(text)
    np.savez(folder / "samples.npz", **arrays)
    samples = open_samples(folder / "samples.npz", model)
    ranges = calibrate(model, samples, threads=1)
    return Work(model, chip or integer_chip(), scheme, samples, ranges, threads=1)


def start(work):
    """Return how numbers are held before any step has decided."""
    return Held(work.encodings().model_copy(update={"corrections": {}}))


def literal(numbers):
    """Return numbers as ONNX text."""
    return ",".join(f"{number:.4f}" for number in np.asarray(numbers).ravel())
