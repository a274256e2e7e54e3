"""`--max-drop` on chips that compute in 8 bits or in floats, and have no integers between: layers become float."""

import json

import pytest

from npuopt.graph import load, nodes
from support.command import complaint, npuopt
from support.differences import write_differences

CHIP = """
name: toy/halves
title: A chip with 8 bits and half precision
source: invented
delegate: {road: ort}
schemes:
  fp16: {activation: float16, tensors: [float32, float16]}
  a8w8: {activation: uint8, weight: int8, weight_axis: channel, bias: int32}
ops:
  MatMul: {schemes: [a8w8, fp16], quantization: {weights: [1]}}
  Relu: {schemes: [a8w8, fp16]}
  Sub: {schemes: [a8w8, fp16]}
"""


@pytest.fixture
def quantize(tmp_path, monkeypatch):
    """Six layers, and at their end differences of large numbers, which 8 bits cost most."""
    monkeypatch.chdir(tmp_path)
    write_differences(tmp_path)

    def run(*options, chip=CHIP):
        (tmp_path / "chip.yaml").write_text(chip)
        fixed = ("-t", "chip.yaml", "-o", "q.onnx", "--calibration", "c.npz", "--precision", "a8w8")
        return npuopt("quantize", "m.onnx", *fixed, *options)

    return run


def outcome(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_bound_beyond_8_bits_leaves_what_costs_most_in_floats(quantize, tmp_path):
    plain = outcome(quantize("--json"))["outputs"]["y"]["sqnr_db"]
    found = outcome(quantize("--json", "--max-drop", f"sqnr={plain + 3:.1f}", "--save-precisions", "p.yaml"))
    assert found["search"]["measured"] >= plain + 3
    layers = found["search"]["layers"]
    assert layers["a8w8"] + layers["fp16"] == 6
    assert 0 < layers["fp16"] < 6
    held = (tmp_path / "q.onnx").read_bytes()
    outcome(quantize("--json", "--precisions", "p.yaml"))
    assert (tmp_path / "q.onnx").read_bytes() == held


READS = {"a": "x", "b": "a", "c": "b", "d": "cb", "e": "dc", "y": "ea"}


@pytest.mark.parametrize("more", [1, 3, 6, 10])
def test_no_layer_is_float_between_integers_alone(quantize, tmp_path, more):
    """Numbers would be converted ahead of it and behind it, which costs more than it gains."""
    plain = outcome(quantize("--json"))["outputs"]["y"]["sqnr_db"]
    outcome(quantize("--json", "--max-drop", f"sqnr={plain + more:.1f}", "--save-precisions", "p.yaml"))
    floats = {name for name in READS if f'"{name}": fp16' in (tmp_path / "p.yaml").read_text()}
    assert floats
    for name in floats - {"a", "y"}:  # which touch the graph's own floats
        readers = {reader for reader, read in READS.items() if name in read}
        assert floats & (readers | set(READS[name]))


def test_a_bound_that_8_bits_keep_leaves_nothing_in_floats(quantize):
    plain = outcome(quantize("--json"))["outputs"]["y"]["sqnr_db"]
    found = outcome(quantize("--json", "--max-drop", f"sqnr={plain - 3:.1f}"))
    assert found["search"]["layers"] == {"a8w8": 6}


def test_what_8_bits_do_not_make_faster_on_this_chip_stays_float(quantize):
    """Here products take four times as long in 8 bits; bytes alone would say that they take half as long."""
    plain = outcome(quantize("--json"))["outputs"]["y"]["sqnr_db"]
    slow = CHIP + "performance: {clock_mhz: 1, macs_per_cycle: {int8: 1, float16: 4}, dram_gb_per_s: 1}\n"
    found = outcome(quantize("--json", "--max-drop", f"sqnr={plain - 3:.1f}", chip=slow))
    assert found["search"]["layers"]["fp16"] >= 2
    said = quantize("--max-drop", f"sqnr={plain - 3:.1f}", chip=slow).stdout
    assert "take that scheme alone" in said


def test_a_bound_of_the_whole_in_floats_quantizes_nothing(quantize, tmp_path):
    found = outcome(quantize("--json", "--max-drop", "sqnr=120"))
    assert found["search"]["layers"] == {"fp16": 6}
    assert not nodes(load(tmp_path / "q.onnx"), "QuantizeLinear")


def test_what_the_chip_does_not_take_in_floats_is_in_the_way(quantize, tmp_path):
    done = quantize(
        "--max-drop", "sqnr=60", chip=CHIP.replace("Sub: {schemes: [a8w8, fp16]}", "Sub: {schemes: [a8w8]}")
    )
    said = complaint(done, 5)
    assert "60.0 dB is out of reach: with all that it can in fp16" in said
    assert "in the way: d, e, y, which toy/halves does not take in fp16" in said
    assert not (tmp_path / "q.onnx").exists()


def test_a_budget_needs_integers_to_choose_from(quantize):
    said = complaint(quantize("--budget", "bytes=1K"), 2)
    assert "toy/halves leaves no node a choice between integer schemes" in said
