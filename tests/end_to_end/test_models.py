"""The real models reach their bars: what the README's table says, without the simulator."""

import pytest

from benchmarks.models import Case, all_cases
from npuopt import api
from npuopt.road.options import CompileOptions
from support.models import model_folder

pytestmark = [pytest.mark.models, pytest.mark.qnn, pytest.mark.slow]
FETCHED = ("minilm", "efficientnet_lite0", "ppocr_rec")
BUNDLED = ("tiny_llama-decode", "tiny_llama-prefill", "fashion_mnist")


def case_called(name: str) -> Case:
    return next(case for case in all_cases() if case.name == name)


@pytest.mark.parametrize("name", [*FETCHED, *BUNDLED])
def test_reaches_its_bar_on_the_npu(name: str, tmp_path) -> None:
    if name in FETCHED:
        model_folder(name)
    case = case_called(name)
    options = CompileOptions(
        dims=case.dims, precision=case.precision, calibration=case.folder / case.calibration, verify="off"
    )
    source = case.folder / "model.onnx"
    manifest = api.compile(source, "qualcomm/sm8750", tmp_path / "out", options)
    assert manifest.placement.npu_fraction >= 0.99
    assert manifest.placement.npu_mac_fraction >= 0.99
    quality = case.measure(source, tmp_path / "out" / "model.onnx", case.folder)
    assert quality.meets_bar, quality.text
