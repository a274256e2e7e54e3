"""The command line as a user meets it: one sentence, the right exit code, nothing half-written."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from support.command import complaint, npuopt, npuopt_process
from support.paths import EXAMPLES

FASHION = EXAMPLES / "fashion_mnist" / "model.onnx"
LLAMA = EXAMPLES / "tiny_llama" / "model.onnx"


def save_text(path: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_version() -> None:
    assert npuopt_process("--version").stdout.startswith("npuopt 0.")


def test_wrong_option_is_usage() -> None:
    assert "--targte" in complaint(npuopt("check", FASHION, "--targte", "host/x86-64"), 2)


def test_unknown_target_is_usage_with_a_suggestion() -> None:
    assert "qualcomm/sm8750" in complaint(npuopt("check", FASHION, "--target", "qualcom/sm8750"), 2)


@pytest.mark.parametrize("dim", ["batch", "batch=x", "batch=-1", "=3"])
def test_malformed_dim_is_usage(dim: str) -> None:
    assert "is not NAME=N" in complaint(npuopt("check", FASHION, "-t", "qualcomm/sm8750", "--dim", dim), 2)


@pytest.mark.parametrize(
    "option",
    [("--dim", "batch=99999999999999999999"), ("--dim", "batch=1", "--dim", "batch=2"), ("--min-npu", "7")],
)
def test_numbers_out_of_range_are_usage(option) -> None:
    complaint(npuopt("check", FASHION, "-t", "qualcomm/sm8750", *option), 2)


def test_unknown_dim_names_the_models_dims() -> None:
    sentence = complaint(npuopt("check", FASHION, "-t", "qualcomm/sm8750", "--dim", "bach=1"), 2)
    assert "no dim called 'bach'; did you mean batch?" in sentence


def test_missing_dims_say_what_to_give() -> None:
    assert "--dim past=N --dim seq=N" in complaint(npuopt("check", LLAMA, "-t", "qualcomm/sm8750"), 3)


def test_a_free_batch_dim_becomes_one() -> None:
    document = json.loads(npuopt("check", FASHION, "-t", "qualcomm/sm8750", "--json").stdout)
    assert document["summary"]["npu_fraction"] == 1.0


def test_scheme_that_the_target_lacks() -> None:
    done = npuopt("check", FASHION, "-t", "qualcomm/sm8750", "--dim", "batch=1", "--precision", "a3w3")
    assert "has no scheme 'a3w3'" in complaint(done, 2)


def test_a_file_that_is_no_model(tmp_path) -> None:
    (tmp_path / "m.onnx").write_text("once upon a time")
    assert "m.onnx" in complaint(npuopt("optimize", tmp_path / "m.onnx", "-o", tmp_path / "o.onnx"), 3)
    assert not (tmp_path / "o.onnx").exists()


def test_a_truncated_model(tmp_path) -> None:
    (tmp_path / "m.onnx").write_bytes(FASHION.read_bytes()[:100_000])
    assert "m.onnx" in complaint(npuopt("optimize", tmp_path / "m.onnx", "-o", tmp_path / "o.onnx"), 3)


def test_a_missing_file(tmp_path) -> None:
    assert "nothing.onnx" in complaint(npuopt("optimize", tmp_path / "nothing.onnx", "-o", tmp_path / "o.onnx"), 3)


def test_an_op_of_an_unknown_domain(tmp_path) -> None:
    text = '<ir_version: 10, opset_import: ["" : 20, "acme" : 1]> g (float[2] x) => (float[2] y) { y = acme.Magic(x) }'
    model = save_text(tmp_path / "m.onnx", text)
    sentence = complaint(npuopt("optimize", model, "-o", tmp_path / "o.onnx"), 3)
    assert "acme" in sentence
    assert "Magic" in sentence


def test_unknown_pass_is_usage_with_a_suggestion(tmp_path) -> None:
    done = npuopt("optimize", FASHION, "-o", tmp_path / "o.onnx", "--pass", "fold-constant")
    assert "did you mean fold-constants" in complaint(done, 2)


def test_optimize_prints_one_json_document(tmp_path) -> None:
    done = npuopt("optimize", FASHION, "-o", tmp_path / "o.onnx", "--json")
    document = json.loads(done.stdout)
    assert document["nodes_after"] < document["nodes_before"]
    assert {"name", "changed", "declined", "seconds"} <= set(document["passes"][0])
    onnx.checker.check_model(tmp_path / "o.onnx", full_check=True)


def test_check_json_has_the_documented_fields() -> None:
    document = json.loads(npuopt("check", FASHION, "-t", "qualcomm/sm8750", "--dim", "batch=1", "--json").stdout)
    assert {"model", "target", "summary", "nodes"} <= set(document)
    assert {"nodes", "npu", "host", "npu_fraction", "npu_mac_fraction"} <= set(document["summary"])
    assert {"name", "op_type", "domain", "placement", "reasons", "lowered_by"} <= set(document["nodes"][0])
    assert document["summary"]["npu_fraction"] == 1.0


def test_check_fails_below_min_npu(tmp_path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[2, 2] x) => (float y) { a = Relu(x) y = Det(a) }"""
    model = save_text(tmp_path / "m.onnx", text)
    done = npuopt("check", model, "-t", "qualcomm/sm8750", "--precision", "fp16", "--min-npu", "0.9")
    assert "less than the 90.0% asked for" in complaint(done, 4)
    assert "Det" in done.stdout


def test_check_saves_refused_nodes_as_models(tmp_path) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[2, 2] x) => (float y) { a = Relu(x) [det] y = Det(a) }"""
    model = save_text(tmp_path / "m.onnx", text)
    npuopt("check", model, "-t", "qualcomm/sm8750", "--precision", "fp16", "--save-nodes", tmp_path / "nodes")
    saved = list((tmp_path / "nodes").glob("*.onnx"))
    assert any([node.op_type for node in onnx.load(path).graph.node] == ["Det"] for path in saved)
    for path in saved:
        onnx.checker.check_model(path, full_check=True)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"picture": np.zeros((2, 1, 1, 28, 28), np.float32)}, "input"),
        ({"input": np.zeros((2, 1, 1, 14, 28), np.float32)}, "shape"),
        ({"input": np.full((2, 1, 1, 28, 28), np.nan, np.float32)}, "NaN"),
        ({"input": np.zeros((0, 1, 1, 28, 28), np.float32)}, "no samples"),
    ],
    ids=["missing input", "wrong shape", "NaN", "no samples"],
)
def test_bad_calibration_data(tmp_path, arrays, words: str) -> None:
    np.savez(tmp_path / "c.npz", **arrays)
    done = npuopt(
        *("quantize", FASHION, "-t", "qualcomm/sm8750", "--dim", "batch=1", "--precision", "a8w8"),
        *("--calibration", tmp_path / "c.npz", "-o", tmp_path / "q.onnx"),
    )
    assert words in complaint(done, 3)
    assert not (tmp_path / "q.onnx").exists()


def test_integer_scheme_without_data_is_usage(tmp_path) -> None:
    done = npuopt(
        *("quantize", FASHION, "-t", "qualcomm/sm8750", "--dim", "batch=1", "--precision", "a8w8"),
        *("-o", tmp_path / "q.onnx"),
    )
    assert "--calibration" in complaint(done, 2)


def test_output_that_is_no_artifact_is_never_replaced(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = npuopt("compile", FASHION, "-t", "host/x86-64", "-o", tmp_path / "out")
    assert "no npuopt artifact" in complaint(done, 2)
    assert (tmp_path / "out" / "mine.txt").is_file()


def test_run_on_something_that_is_no_artifact(tmp_path) -> None:
    assert "no npuopt artifact" in complaint(npuopt("run", tmp_path, "--inputs", tmp_path / "x.npz"), 3)


def test_passes_and_targets_are_listed() -> None:
    passes = json.loads(npuopt("passes", "list", "--json").stdout)
    assert {"fold-constants", "freeze-dims", "fuse-rms-normalization"} <= {item["name"] for item in passes}
    targets = json.loads(npuopt("targets", "list", "--json").stdout)
    assert {"qualcomm/sm8750", "host/x86-64"} <= {item["name"] for item in targets}


def test_shell_completion_is_offered() -> None:
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # there may be no shell to detect
    assert "_npuopt" in npuopt_process("--show-completion", "bash", environment=environment).stdout


WRONG_STEP = """
from dataclasses import dataclass
from npuopt.pipeline import Changed, NodePass

@dataclass(frozen=True)
class DropRelu(NodePass):
    "Relu is dropped, which is wrong."
    name = "drop-relu"
    op_types = ("Relu",)

    def rewrite(self, node, edit, target):
        edit.replace_node(node, node.inputs[0])
        return Changed("dropped")
"""


def test_verify_each_names_the_pass_that_changes_the_numbers(tmp_path) -> None:
    model = save_text(
        tmp_path / "m.onnx", '<ir_version: 10, opset_import: ["" : 20]> g (float[N] x) => (float[N] y) { y = Relu(x) }'
    )
    (tmp_path / "mine.py").write_text(WRONG_STEP)
    arguments = ("optimize", model, "-o", tmp_path / "o.onnx", "--pass-file", tmp_path / "mine.py", "--dim", "N=5")
    assert npuopt(*arguments, "--verify", "off").returncode == 0  # valid, only wrong
    (tmp_path / "o.onnx").unlink()
    assert "output 'y' of the result differs from the source's" in complaint(npuopt(*arguments), 1)
    sentence = complaint(npuopt(*arguments, "--verify", "each"), 1)
    assert "pass drop-relu changed the numbers of output 'y'" in sentence
    assert not (tmp_path / "o.onnx").exists()


def test_verify_each_passes_what_is_right(tmp_path) -> None:
    done = npuopt(
        *("optimize", FASHION, "-t", "qualcomm/sm8750", "--dim", "batch=1", "--verify", "each"),
        *("--dump", tmp_path / "dumps", "-o", tmp_path / "o.onnx"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dumps" / "00-source.txt").is_file()
