"""`npuopt extract`: a part of a model, whole or not at all."""

import onnx
import pytest

from support.command import complaint, npuopt
from support.model_text import save_text

CHAIN = "(float[2, 3] x) => (float[3, 2] y) { a = Relu(x) b = Transpose(a) c = Neg(b) y = Abs(c) }"


@pytest.fixture
def extract(tmp_path):
    def run(*options):
        return npuopt("extract", save_text(tmp_path / "m.onnx", CHAIN), "-o", tmp_path / "sub.onnx", *options)

    return run


def test_the_part_between_two_tensors(extract, tmp_path):
    done = extract("--from", "b", "--to", "c")
    assert done.returncode == 0, done.stderr
    part = onnx.load(tmp_path / "sub.onnx")
    onnx.checker.check_model(part, full_check=True)
    assert [node.op_type for node in part.graph.node] == ["Neg"]
    assert [dim.dim_value for dim in part.graph.input[0].type.tensor_type.shape.dim] == [3, 2]
    assert "input b float[3, 2]" in done.stdout


@pytest.mark.parametrize(
    ("options", "ops"),
    [(("--to", "b"), ["Relu", "Transpose"]), (("--from", "b"), ["Neg", "Abs"]), ((), 4)],
)
def test_an_end_that_is_left_out_is_the_models_own(extract, tmp_path, options, ops):
    assert extract(*options).returncode == 0
    made = [node.op_type for node in onnx.load(tmp_path / "sub.onnx").graph.node]
    assert (len(made) if isinstance(ops, int) else made) == ops


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--to", "bb"), "there is no tensor called 'bb' in the main graph; did you mean b?"),
        (("--from", "c", "--to", "b"), "the outputs also need the input 'x'"),
        (("--from", "x", "--from", "c", "--to", "b"), "no output needs the tensor 'c'"),
    ],
)
def test_ends_that_do_not_fit_are_usage(extract, tmp_path, options, words):
    assert words in complaint(extract(*options), 2)
    assert not (tmp_path / "sub.onnx").exists()


def test_a_folder_that_is_not_there(extract, tmp_path):
    done = extract("-o", tmp_path / "none" / "sub.onnx")
    assert "cannot be written" in complaint(done, 2)
