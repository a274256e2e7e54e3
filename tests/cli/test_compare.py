"""`npuopt compare`: structure, numbers, and the exit code of each outcome."""

import json

import numpy as np
import pytest

from support.command import complaint, npuopt
from support.model_text import save_text

RELU = "(float[N, 4] x) => (float[N, 4] y) <float[4] c = {1, 2, 3, 4}> { a = Relu(x) y = Mul(a, c) }"


@pytest.fixture
def compare(tmp_path):
    def run(before, after, *options):
        save_text(tmp_path / "a.onnx", before)
        save_text(tmp_path / "b.onnx", after)
        return npuopt("compare", tmp_path / "a.onnx", tmp_path / "b.onnx", *options)

    return run


def test_a_model_is_the_same_as_itself(compare):
    done = compare(RELU, RELU.replace("a =", "other =").replace("Mul(a", "Mul(other"), "--dim", "N=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("same graph, same weights")


def test_another_structure_with_the_same_numbers_is_equal(compare):
    after = RELU.replace("a = Relu(x)", "i = Identity(x) a = Relu(i)")
    done = compare(RELU, after, "--dim", "N=2", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["equal"]
    assert document["structure"]["ops"] == {"Identity": [0, 1]}
    assert document["outputs"]["y"]["cosine"] == pytest.approx(1)
    assert document["outputs"]["y"]["sqnr_db"] is None  # infinite


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{1, 2, 3, 4}", "{1, 2, 3, 5}", "weight c: other numbers"),
        ("a = Relu(x)", "a = Abs(x)", "Relu"),
    ],
)
def test_other_numbers_end_with_5(compare, old, new, words):
    done = compare(RELU, RELU.replace(old, new), "--dim", "N=2")
    assert "output y differs from that of" in complaint(done, 5)
    assert words in done.stdout


def test_tolerance_is_what_is_allowed(compare):
    options = ("--dim", "N=2", "--tolerance", "0.5")
    assert compare(RELU, RELU.replace("{1, 2, 3, 4}", "{1, 2, 3, 4.1}"), *options).returncode == 0


def test_sizes_that_one_of_both_fixes_are_taken_from_it(compare):
    done = compare(RELU, RELU.replace("N, 4", "3, 4"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["structure"]["interface"] == [
        "input x: float[N, 4] -> float[3, 4]",
        "output y: float[N, 4] -> float[3, 4]",
    ]


def test_inputs_may_come_from_a_file(compare, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.ones((3, 2, 4), np.float32))
    done = compare(RELU, RELU.replace("Relu", "Abs"), "--inputs", tmp_path / "in.npz", "--json")
    assert done.returncode == 0, done.stderr  # ones are where both agree
    assert json.loads(done.stdout)["samples"] == 3


def test_a_missing_size_says_what_to_give(compare):
    assert "has no static shape; give its dims with --dim" in complaint(compare(RELU, RELU), 3)


def test_models_that_cannot_run_on_the_same_inputs(compare):
    other = "(float[2, 5] z) => (float[2, 5] y) { y = Relu(z) }"
    assert "takes z float[2, 5], which the first model does not" in complaint(compare(RELU, other), 3)
    other = "(float[2, 4] x) => (float[2, 4] z) { z = Relu(x) }"
    assert "has no output of the same name" in complaint(compare(RELU, other), 3)


def test_an_output_that_is_gone_is_a_difference(compare):
    before = "(float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Neg(x) }"
    done = compare(before, "(float[2] x) => (float[2] y) { y = Relu(x) }")
    assert "the models have different outputs" in complaint(done, 5)


def test_the_diff_is_printed_when_asked_for(compare):
    done = compare(RELU, RELU.replace("Relu", "Abs"), "--dim", "N=2", "--diff")
    assert "-   a = Relu (x)" in done.stdout


def test_a_file_that_is_no_model(compare, tmp_path):
    (tmp_path / "c.onnx").write_text("no model")
    compare(RELU, RELU)
    assert "c.onnx" in complaint(npuopt("compare", tmp_path / "a.onnx", tmp_path / "c.onnx"), 3)
