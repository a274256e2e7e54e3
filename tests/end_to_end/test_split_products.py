"""A product whose second operand may only have 8 bits on the chip, as two: what the vendor's simulator makes of it."""

import numpy as np
import onnx
import onnx.parser
import pytest

from npuopt import api
from npuopt.road.options import CompileOptions
from support.stepping import literal

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("end_to_end")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

RNG = np.random.default_rng(0)
INTEGERS = {name: RNG.integers(-127, 128, size=(32, 32)) for name in "qkv"}
for integers in INTEGERS.values():
    integers[0] = 127  # so that 8 bits hold all weights as they are, and data alone is rounded
WEIGHTS = ", ".join(f"float[32,32] w{name} = {{{literal(array / 100)}}}" for name, array in INTEGERS.items())
TEXT = f"""<ir_version: 10, opset_import: ["" : 21]> g (float[1,16,32] x) => (float[1,16,32] y) <{WEIGHTS},
    float c = {{0.01}}>
    {{q = MatMul(x, wq) k = MatMul(x, wk) t = Transpose<perm=[0,2,1]>(k) m = MatMul(q, t) s = Mul(m, c)
    p = Softmax<axis=-1>(s) v = MatMul(x, wv) y = MatMul(p, v)}}"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("split")
    onnx.save(onnx.parser.parse_model(TEXT), folder / "model.onnx")
    np.savez(folder / "data.npz", x=RNG.normal(size=(16, 1, 16, 32)).astype(np.float32))
    steps = ("split-products{least_sqnr_db=80}",)
    options = CompileOptions(precision="a16w8", calibration=folder / "data.npz", steps=steps)
    return api.compile(folder / "model.onnx", "qualcomm/sm8750", folder / "out", options)


def against_the_stage_before(manifest, name):
    return next(found for found in manifest.verification if found.name == name).outputs["y"].sqnr_db


def test_all_of_it_is_on_the_chip(compiled):
    (record,) = (step for step in compiled.encodings["steps"] if step["name"] == "split-products")
    assert (record["changed"], record["text"]) == (2, "split-products: 2 changed, 16,384 MACs more")
    assert compiled.placement.npu_fraction == 1.0


def test_the_result_keeps_what_eight_bits_lose(compiled):
    assert against_the_stage_before(compiled, "quantized") > 60, "40 dB with the second operands in 8 bits"


def test_the_simulator_computes_both_parts_right(compiled):
    ratio = against_the_stage_before(compiled, "compiled")
    assert ratio is None or ratio > 55, "None: the same numbers"
