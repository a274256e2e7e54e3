"""`npuopt check` on several targets: one table, what would be taken, and what could not be checked at all."""

import json

import pytest

from support.command import complaint, npuopt
from support.model_text import save_text

TEXT = """(float[1, 8, 16, 16] x) => (float[1, 8, 16, 16] y)
    <float[8, 8, 1, 1] w = {VALUES}> { a = Conv(x, w) b = Det(a) c = Relu(a) y = Add(c, a) }""".replace(
    "VALUES", ",".join(["1"] * 64)
)
UNFROZEN = "(float[N, M] x) => (float[N, M] y) { y = Relu(x) }"


@pytest.fixture
def model(tmp_path):
    return save_text(tmp_path / "m.onnx", TEXT.replace("b = Det(a) ", ""))


def test_every_target_has_a_row_with_what_it_takes(model):
    lines = npuopt("check", model, "-t", "qualcomm/sm8750", "-t", "host/x86-64").stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if "/" in line}
    assert rows["qualcomm/sm8750"][1:4] == ["a16w8", "100.0%", "100.0%"]
    assert rows["host/x86-64"][1:4] == ["fp32", "100.0%", "100.0%"]


def test_json_has_one_document_for_each_target_with_the_memory_of_its_regions(model):
    document = json.loads(npuopt("check", model, "-t", "qualcomm/sm8750", "-t", "host/x86-64", "--json").stdout)
    wide, narrow = 8 * 16 * 16 * 4, 8 * 16 * 16 * 2  # float32, and the 16 bits of a16w8
    peaks = {one["target"]: one["regions"][0]["memory"]["peak"] for one in document["targets"]}
    assert peaks == {"qualcomm/sm8750": 2 * narrow, "host/x86-64": 2 * wide}
    macs = {region["macs"] for one in document["targets"] for region in one["regions"]}
    assert macs == {8 * 8 * 16 * 16}


def test_all_takes_every_target_that_is_listed(model):
    document = json.loads(npuopt("check", model, "--all", "--json").stdout)
    listed = [item["name"] for item in json.loads(npuopt("targets", "list", "--json").stdout)]
    assert [item["target"] for item in document["targets"]] == listed


def test_a_target_that_cannot_be_checked_says_why_and_the_others_are_checked(tmp_path):
    model = save_text(tmp_path / "free.onnx", UNFROZEN)
    run = npuopt("check", model, "-t", "qualcomm/sm8750", "-t", "host/onnxruntime")
    assert run.returncode == 0
    assert "qualcomm/sm8750: dims M, N are dynamic and the target needs static shapes" in run.stdout


def test_when_no_target_can_be_checked_the_first_reason_is_the_error(tmp_path):
    model = save_text(tmp_path / "free.onnx", UNFROZEN)
    run = npuopt("check", model, "-t", "qualcomm/sm8750", "-t", "qualcomm/sm8650")
    assert (run.returncode, "dims M, N are dynamic" in run.stderr) == (3, True)


def test_a_share_that_is_too_small_names_the_worst_target(tmp_path):
    model = save_text(tmp_path / "m.onnx", TEXT.replace("=> (", "=> (float[1, 8] b, "))
    run = npuopt("check", model, "-t", "qualcomm/sm8750", "-t", "host/onnxruntime", "--min-npu", "1")
    assert run.returncode == 4
    assert "qualcomm/sm8750 takes" in run.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no target is given"),
        (("--all", "-t", "host/x86-64"), "--all takes every target"),
        (("-t", "host/x86-64", "-t", "qualcomm/sm8750", "--save-nodes", "nodes"), "name one --target with it"),
    ],
)
def test_wrong_flags(model, options, said):
    assert said in complaint(npuopt("check", model, *options), 2)
