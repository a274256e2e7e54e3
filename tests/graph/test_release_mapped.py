"""Pages of weights that were read go back to the system, and come again when they are read."""

from pathlib import Path

import numpy as np
import onnx_ir as ir

from npuopt.graph import constant, load, release_mapped, save
from support.rewrites import model_from


def resident_kib(path):
    """Return how much of a mapped file is in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines())
    return sum(
        next(int(inner.split()[1]) for inner in lines if inner.startswith("Rss:"))
        for line in lines
        if str(path) in line
    )


def test_weights_that_were_read_leave_memory_and_can_be_read_again(tmp_path):
    weight = np.arange(2**20, dtype=np.float32)
    model = model_from("(float[1048576] x) => (float[1048576] y) <float[1] w = {0}> {y = Add(x, w)}")
    value = model.graph.initializers["w"]
    value.const_value = ir.tensor(weight, name="w")
    value.shape = ir.Shape(weight.shape)
    save(model, tmp_path / "model.onnx")
    loaded = load(tmp_path / "model.onnx").graph.initializers["w"]
    assert np.array_equal(constant(loaded), weight)
    assert resident_kib(tmp_path) >= 4096
    release_mapped([loaded])
    assert resident_kib(tmp_path) < 1024
    assert np.array_equal(constant(loaded), weight)
