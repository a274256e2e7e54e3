"""`npuopt optimize --profile`: several frozen models, one file of weights."""

import json

import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from npuopt.graph import Session, load
from support.command import complaint, npuopt
from support.model_text import HEADER

WEIGHT = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32)
SHAPE = {"decode": 1, "prefill": 5}


@pytest.fixture
def model(tmp_path):
    text = f"""{HEADER}
    g (float[batch, seq, 32] x) => (float[batch, seq, 32] y, float[A, B] z) <int64[2] t = {{-1, 64}}> {{
        u = Transpose<perm = [1, 0]>(w) a = MatMul(x, w) b = MatMul(a, u) y = Relu(b) z = Reshape(a, t)
    }}"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHT, "w"))
    onnx.save(proto, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


@pytest.fixture
def profiles(model, tmp_path):
    def run(*options):
        return npuopt("optimize", model, "-o", tmp_path / "out", "--dim", "batch=2", *options)

    return run


BOTH = ("--profile", "decode:seq=1", "--profile", "prefill:seq=5")


def test_each_profile_is_a_model_and_all_share_their_weights(profiles, model, tmp_path):
    done = profiles(*BOTH)
    assert done.returncode == 0, done.stderr
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert set(files) == {"decode.onnx", "prefill.onnx", "weights.data", "profiles.json"}
    assert files["weights.data"] == 2 * WEIGHT.nbytes  # w and what Transpose made of it, each once
    for name, seq in SHAPE.items():
        path = tmp_path / "out" / f"{name}.onnx"
        onnx.checker.check_model(path, full_check=True)
        x = np.random.default_rng(1).standard_normal((2, seq, 32)).astype(np.float32)
        for output, expected in Session(model, threads=1).run({"x": x}).items():
            np.testing.assert_allclose(Session(path, threads=1).run({"x": x})[output], expected, atol=1e-4)
        assert list(load(path).graph.inputs[0].shape) == [2, seq, 32]


def test_the_folder_says_what_is_in_it(profiles, tmp_path):
    profiles(*BOTH)
    assert json.loads((tmp_path / "out" / "profiles.json").read_text()) == {
        "decode": {"file": "decode.onnx", "dims": {"batch": 2, "seq": 1}},
        "prefill": {"file": "prefill.onnx", "dims": {"batch": 2, "seq": 5}},
    }


def test_json_has_a_record_for_each(profiles):
    document = json.loads(profiles(*BOTH, "--json").stdout)
    assert set(document["profiles"]) == {"decode", "prefill"}
    assert document["profiles"]["decode"]["nodes_after"] > 0


def test_an_earlier_run_is_replaced_and_nothing_else_is(profiles, tmp_path):
    assert profiles(*BOTH).returncode == 0
    assert profiles("--profile", "only:seq=3").returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"only.onnx", "weights.data", "profiles.json"}
    (tmp_path / "out" / "profiles.json").unlink()
    assert "is no npuopt artifact" in complaint(profiles(*BOTH), 2)
    assert (tmp_path / "out" / "only.onnx").is_file()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("decode", "is not NAME:DIM=N,DIM=N"),
        ("decode:seq", "'seq' is not NAME=N"),
        (":seq=1", "is not NAME:DIM=N"),
        ("../up:seq=1", "'../up' is no name for a profile"),
        ("decode:sek=1", "no dim called 'sek'; did you mean seq?"),
        ("decode:seq=1,seq=2", "seq is given twice"),
    ],
)
def test_mistakes_are_usage_and_leave_nothing(profiles, tmp_path, profile, words):
    assert words in complaint(profiles("--profile", profile), 2)
    assert not (tmp_path / "out").exists()


def test_a_profile_given_twice(profiles):
    assert "--profile a is given twice" in complaint(profiles("--profile", "a:seq=1", "--profile", "a:seq=2"), 2)
