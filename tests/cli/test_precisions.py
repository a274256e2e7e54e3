"""`--precisions` and `--keep`: single nodes in another scheme than the rest."""

import json

import pytest

from npuopt.graph import load, nodes
from support.command import complaint, npuopt
from support.paths import EXAMPLES
from support.toy_road import toy_files


@pytest.fixture
def quantize(tmp_path):
    chip, model, data = toy_files(tmp_path / "inputs")
    fixed = ("-t", chip, "--dim", "batch=1", "-o", tmp_path / "q.onnx")

    def run(*options, precision="a8w8", calibration=("--calibration", data)):
        return npuopt("quantize", model, *fixed, "--precision", precision, *calibration, *options)

    return run


def quantizers(tmp_path):
    return len(nodes(load(tmp_path / "q.onnx"), "QuantizeLinear"))


def test_a_node_is_kept_in_another_scheme(quantize, tmp_path):
    assert quantize().returncode == 0
    assert quantizers(tmp_path) == 3
    assert quantize("--keep", "positive=fp16", "--save-encodings", tmp_path / "e.json").returncode == 0
    assert quantizers(tmp_path) == 2
    assert json.loads((tmp_path / "e.json").read_text())["precisions"] == {"y": "fp16"}


def test_a_file_says_the_same_and_the_option_wins_over_it(quantize, tmp_path):
    (tmp_path / "p.yaml").write_text("Relu: fp16\n")
    assert quantize("--precisions", tmp_path / "p.yaml").returncode == 0
    assert quantizers(tmp_path) == 2
    assert quantize("--precisions", tmp_path / "p.yaml", "--keep", "Relu=a8w8").returncode == 0
    assert quantizers(tmp_path) == 3


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("Relu", "is not NAME=SCHEME"),
        ("=fp16", "is not NAME=SCHEME"),
        ("Relu=fp8", "has no scheme 'fp8'"),
        ("Rely=fp16", "no node with float data is called 'Rely'"),
    ],
)
def test_mistakes_are_usage_and_leave_nothing(quantize, tmp_path, keep, words):
    assert words in complaint(quantize("--keep", keep), 2)
    assert not (tmp_path / "q.onnx").exists()


def test_a_bad_file_is_bad_input(quantize, tmp_path):
    (tmp_path / "p.yaml").write_text("Relu: [fp16]\n")
    assert "p.yaml:1:1" in complaint(quantize("--precisions", tmp_path / "p.yaml"), 3)
    assert not (tmp_path / "q.onnx").exists()


def test_where_nothing_is_chosen_there_is_nothing_to_keep(quantize, tmp_path):
    assert "cannot be in a8w8 beside fp16" in complaint(quantize("--keep", "Relu=a8w8", precision="fp16"), 2)
    assert quantize("--save-encodings", tmp_path / "e.json").returncode == 0
    given = ("--encodings", tmp_path / "e.json")
    assert "encodings that are given" in complaint(quantize("--keep", "Relu=fp16", calibration=given), 2)


@pytest.mark.qnn
def test_a_mixed_model_is_compiled_whole_and_computed_right(tmp_path):
    folder = EXAMPLES / "fashion_mnist"
    mixed = ("--precision", "a8w8", "--keep", "/0/*=a16w8", "--keep", "/2/*=a16w8", "--keep", "/6/*=fp16")
    done = npuopt(
        *("compile", folder / "model.onnx", "-t", "qualcomm/sm8750", "-o", tmp_path / "out", "--dim", "batch=1"),
        *("--calibration", folder / "calibration.npz", *mixed, "--json"),
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert manifest["placement"]["host"] == 0
    assert len(manifest["steps"]) == 1
    stages = {stage["name"]: stage["outputs"]["logits"] for stage in manifest["verification"]}
    assert stages["quantized"]["sqnr_db"] > 33, "a8w8 alone has 33.0"
    assert stages["compiled"]["cosine"] > 0.999
