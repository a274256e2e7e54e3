"""`npuopt sensitivity`: the layers that cost the most accuracy, ranked."""

import json

import pytest

from support.command import complaint, npuopt
from support.toy_road import toy_files


@pytest.fixture
def sensitivity(tmp_path):
    chip, model, data = toy_files(tmp_path)

    def run(*options, given=("--calibration", data), precision="a8w8"):
        return npuopt("sensitivity", model, "-t", chip, "--dim", "batch=1", "--precision", precision, *given, *options)

    return run


def test_layers_are_ranked_by_their_own_error(sensitivity):
    document = json.loads(sensitivity("--json").stdout)
    assert document["scheme"] == "a8w8"
    assert document["samples"] == 3
    assert {layer["name"]: layer["op_type"] for layer in document["layers"]} == {"x": "", "p": "MatMul", "y": "Relu"}
    ratios = [layer["own_sqnr_db"] for layer in document["layers"]]
    assert ratios == sorted(ratios)
    assert all(20 < ratio < 70 for ratio in ratios)
    last = next(layer for layer in document["layers"] if layer["name"] == "y")
    assert last["accumulated_sqnr_db"] == pytest.approx(document["outputs"]["y"]["sqnr_db"], abs=1e-6)
    assert last["accumulated_sqnr_db"] < last["own_sqnr_db"], "earlier layers' errors are in it too"
    assert last["output_sqnr_db"] == {}


def test_on_request_by_what_each_does_at_the_outputs(sensitivity):
    document = json.loads(sensitivity("--json", "--at-outputs").stdout)
    ratios = [layer["output_sqnr_db"]["y"] for layer in document["layers"]]
    assert ratios == sorted(ratios)


def test_the_table_says_how_much_there_is_to_see(sensitivity):
    printed = sensitivity("--top", "2").stdout
    assert "Layers by their error, 3 samples" in printed
    assert "1 more with --top or --json" in " ".join(printed.split())


def test_a_node_kept_in_float_has_no_error(sensitivity):
    document = json.loads(sensitivity("--json", "--keep", "positive=fp16").stdout)
    assert {layer["name"] for layer in document["layers"]} == {"x", "p"}


def test_without_data_there_is_nothing_to_measure(sensitivity):
    assert "errors of layers are looked at on data" in complaint(sensitivity(given=(), precision="auto"), 2)
