"""The Sony road with the real converter, which takes a minute for the smallest network."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from npuopt import api
from npuopt.road.options import CompileOptions
from support.paths import EXAMPLES
from support.toolchains import needs_toolchain

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]


def test_a_trained_network_is_packed_and_its_numbers_are_those_of_sonys_quantizers(tmp_path):
    if shutil.which("java") is None:
        pytest.skip("the converter needs Java 17 on PATH")
    needs_toolchain("imx500")
    folder = EXAMPLES / "fashion_mnist"
    images = np.load(folder / "calibration.npz")["input"][:, None]
    np.savez(tmp_path / "data.npz", input=images[:32])
    options = CompileOptions(dims={"batch": 1}, calibration=tmp_path / "data.npz", samples=2)
    manifest = api.compile(folder / "model.onnx", "sony/imx500", tmp_path / "out", options)
    assert manifest.placement.npu_fraction == 1.0
    [step] = manifest.steps
    assert step.figures["chip_bytes"] == pytest.approx(8 << 20, rel=1e-3)  # as the converter rounds it
    assert 0 < step.figures["weights_bytes"] < 200_000
    stages = {stage.name: stage.outputs["logits"] for stage in manifest.verification}
    assert (stages["quantized"].sqnr_db or 0) > 20
    assert (stages["compiled"].max_abs or 0.0) < 1e-4
