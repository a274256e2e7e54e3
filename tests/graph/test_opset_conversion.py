"""Subgraphs and functions are converted too; what cannot be is refused by name."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from npuopt.errors import InputError
from npuopt.graph import Session, load, to_text
from support.opsets import SAME, X, assert_same, convert, floats


def test_subgraphs_are_converted_too(tmp_path):
    text = """g (float[2,3,4,5] x, bool c) => (float[2,3,4,5] y) {
        y = If(c) <then_branch = a () => (float[2,3,4,5] p) { p = Clip<min = 0.0>(x) },
                   else_branch = b () => (float[2,3,4,5] q) { q = Softmax(x) }>
    }"""
    for choice in (True, False):
        assert_same(tmp_path, text, 10, x=X, c=np.array(choice))


def function_model(folder: Path, body: str, version: int = 17, parameters: str = "") -> Path:
    path = folder / "old.onnx"
    text = f"""<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2,3] x) => (float[] y) {{ y = local.f{"<axes = [1]>" if parameters else ""}(x) }}
    <domain: "local", opset_import: ["" : {version}]>
    f {parameters} (a) => (b) {{ {body} }}"""
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


def test_functions_are_converted_too(tmp_path):
    path = function_model(tmp_path, "b = ReduceMean<axes = [-1]>(a)")
    model = load(path)
    assert len(model.functions) == 1
    feeds = {"x": floats(2, 3)}
    np.testing.assert_allclose(Session(model).run(feeds)["y"], Session(path).run(feeds)["y"])


def test_a_function_parameter_that_became_an_input_is_refused(tmp_path):
    path = function_model(tmp_path, "b = ReduceMean<axes: ints = @axes>(a)", parameters="<axes>")
    with pytest.raises(InputError, match="its attribute 'axes' is a parameter of the function"):
        load(path)


@pytest.mark.parametrize("version", [1, 6])
def test_older_than_7_is_refused(tmp_path, version):
    with pytest.raises(InputError, match=f"opset {version} is older than 7"):
        convert(tmp_path, f"g {SAME} {{ y = Relu(x) }}", version)


def test_training_is_refused(tmp_path):
    text = """g (float[2,3,4,5] x, float[3] s) => (float[2,3,4,5] y, float[3] mean) {
        [norm] y, mean, v, sm, sv = BatchNormalization(x, s, s, s, s) }"""
    with pytest.raises(InputError, match=r"node 'norm' .* it is in training mode"):
        convert(tmp_path, text, 9)


@pytest.mark.parametrize("version", [25, 26])
def test_newer_models_that_use_nothing_new(tmp_path, version):
    text = "g (float[2,3] x) => (float[6] y) <int64[1] s = {-1}> { t = Reshape(x, s)  y = Cast<to = 1>(t) }"
    assert_same(tmp_path, text, version, x=floats(2, 3))


def test_newer_attributes_at_their_default_are_dropped(tmp_path):
    text = "g (float[1,2,4,8] q) => (float[1,2,4,8] y) { y = Attention<left_window_size = -1>(q, q, q) }"
    _, model = convert(tmp_path, text, 25)
    assert "left_window_size" not in to_text(model)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "g (float[1,2,4,8] q) => (float[1,2,4,8] y) { [new] y = Attention<left_window_size = 3>(q, q, q) }",
            r"node 'new' \(Attention\) does not fit opset 24: it uses the attribute 'left_window_size'",
        ),
        (
            "g (uint2[4] x) => (uint2[2,2] y) <int64[2] s = {2, 2}> { [new] y = Reshape(x, s) }",
            r"it reads 'x' of type tensor\(uint2\), which that opset does not allow",
        ),
        (
            "g (float[4] x) => (uint2[4] y) { [new] y = Cast<to = 25>(x) }",
            r"it makes 'y' of type tensor\(uint2\), which that opset does not allow",
        ),
    ],
)
def test_newer_models_that_use_what_is_new(tmp_path, text, why):
    with pytest.raises(InputError, match=why):
        convert(tmp_path, text, 25)


def test_a_version_that_nobody_knows(tmp_path):
    with pytest.raises(InputError, match="opset 99 is newer than"):
        convert(tmp_path, f"g {SAME} {{ y = Relu(x) }}", 99)
