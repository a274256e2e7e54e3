"""The real models, compiled in float for x86-64 as a user does it, give ONNX Runtime's numbers on real data."""

import platform

import pytest
from delegates.host_cases import needs_linker

from benchmarks.tvm_host import compile_case, host_cases, largest_error
from npuopt.delegates.host.loader import Model
from npuopt.graph import Session
from support.models import model_folder

FETCHED = {"minilm", "efficientnet_lite0", "ppocr_rec", "silero"}
pytestmark = [
    needs_linker,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT TESTED: this is no x86-64 machine"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=pytest.mark.models if case.name in FETCHED else ())
        for case in host_cases()
    ],
)
def test_a_real_model_is_computed_right_with_the_planned_schedules(case, tmp_path):
    if case.name in FETCHED:
        model_folder(case.name)
    compiled = compile_case(case, "host/x86-64", tmp_path / "out")
    assert not compiled.plain_functions
    expected = Session(case.source, optimize=True, threads=1).run(compiled.source_sample)
    assert largest_error(expected, Model(compiled.library).run(compiled.sample)) <= 1e-4
