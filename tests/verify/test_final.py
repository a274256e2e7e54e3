"""The finished model against the file that it was made from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from npuopt.errors import InternalError
from npuopt.graph import load, nodes, parse
from npuopt.verify.final import compare_with_source, held_samples, telling_samples


def written(folder, text, version=24):
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {version}]> g {text}'), path)
    return path


def test_the_same_model_differs_by_nothing(tmp_path):
    path = written(tmp_path, "(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    found = compare_with_source(path, load(path), {})
    assert found.difference == 0
    assert str(found) == "numbers compared with the source: the largest difference is 0.0e+00 of an output's range"


def test_other_numbers_are_refused_with_the_output(tmp_path):
    path = written(tmp_path, "(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    made = load(path)
    nodes(made)[0].op_type = "Neg"
    with pytest.raises(InternalError, match=r"output 'y' of the result differs .* bisect"):
        compare_with_source(path, made, {})


def test_a_result_that_does_not_run_is_refused(tmp_path):
    path = written(tmp_path, "(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    made = parse('<ir_version: 8, opset_import: ["" : 24]> g (float[2,3] x) => (float[2,3] y) { y = Rulu(x) }')
    with pytest.raises(InternalError, match="the result does not run"):
        compare_with_source(path, made, {})


def test_free_dims_are_tried(tmp_path):
    text = "(float[N,M] x, float[1,8] z) => (float[A,B] y) { y = Add(x, z) }"  # 2 x 2 does not fit, 1 x 1 does
    path = written(tmp_path, text)
    assert compare_with_source(path, load(path), {}).difference == 0


def test_dims_that_were_given_are_used(tmp_path):
    path = written(tmp_path, "(float[N] x) => (float[3] y) <int64[1] s = {3}> { y = Reshape(x, s) }")
    assert "not compared" in str(compare_with_source(path, load(path), {"N": 4}))
    assert compare_with_source(path, load(path), {"N": 3}).difference == 0
    assert compare_with_source(path, load(path), {"x:0": 3}).difference == 0


def test_a_source_that_draws_lots_is_no_reference(tmp_path):
    path = written(tmp_path, "(float[2,3] x) => (float[2,3] y) { r = RandomNormalLike(x) y = Add(x, r) }", 20)
    made = parse('<ir_version: 8, opset_import: ["" : 22]> g (float[2,3] x) => (float[2,3] y) { y = Neg(x) }')
    found = compare_with_source(path, made, {})
    assert found.difference is None
    assert "does not give the same 'y' twice" in found.why


def test_an_input_of_the_result_alone_cannot_be_compared(tmp_path):
    path = written(tmp_path, "(float[2] x) => (float[2] y) { y = Relu(x) }")
    made = parse(
        '<ir_version: 8, opset_import: ["" : 24]> g (float[2] x, float[2] z) => (float[2] y) { y = Add(x, z) }'
    )
    assert "takes 'z'" in compare_with_source(path, made, {}).why


def test_an_input_that_became_empty_is_missed_by_nobody(tmp_path):
    path = written(tmp_path, "(float[N,2] p, float[3,2] x) => (float[A,2] y) { y = Concat<axis = 0>(p, x) }")
    made = parse('<ir_version: 8, opset_import: ["" : 24]> g (float[3,2] x) => (float[3,2] y) { y = Identity(x) }')
    assert compare_with_source(path, made, {"N": 0}).difference == 0
    assert np.isfinite(compare_with_source(path, made, {"N": 0}).difference)


def test_large_outputs_are_held_of_fewer_samples(tmp_path):
    path = written(tmp_path, "(float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu(x) z = Neg(x) }")
    both = 2 * 6 * 4
    assert [held_samples(load(path), 4, limit) for limit in (4 * both, 4 * both - 1, both, 1)] == [4, 3, 1, 1]
    free = written(tmp_path, "(float[N] x) => (float[N] y) { y = Relu(x) }")
    assert held_samples(load(free), 4, 1) == 4


@pytest.mark.parametrize(
    ("sizes", "samples", "wanted"),
    [((4096, 768), 4, 2), ((4096, 400), 4, 3), ((10,), 4, 4), ((4096, 0), 4, 4), ((4096,), 1, 1), ((), 0, 0)],
    ids=["two have enough", "three have enough", "few numbers", "an empty output", "only one", "none"],
)
def test_small_outputs_are_compared_on_more_samples(sizes, samples, wanted):
    outputs = [{f"y{index}": np.zeros(size) for index, size in enumerate(sizes)}] * samples
    assert telling_samples(outputs) == wanted
