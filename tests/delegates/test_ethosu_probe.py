"""Asking Vela about one-op models: with a stand-in that answers what a test wants, and the real one."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("ai_edge_litert", reason="the litert extra is not installed")

from npuopt.delegates.contract import Limits, Prober
from npuopt.delegates.ethosu import probe as asking
from npuopt.delegates.ethosu.delegate import EthosUDelegate
from npuopt.delegates.registry import find_delegate
from npuopt.errors import VendorToolError
from npuopt.target import load_target
from npuopt.target.probe import probe
from npuopt.target.probing.build import build
from npuopt.target.probing.case import Case, Data
from npuopt.target.probing.quantize import Quantizer
from support.toolchains import needs_toolchain

pytestmark = pytest.mark.litert

U55 = load_target("arm/ethos-u55-128")
LIMITS = Limits(seconds=120, memory_mib=4096)
RELU = build(Case("Relu", (Data((1, 8, 16)),)), "a8w8", Quantizer("a8w8", U55.schemes["a8w8"]))
VELA = """
import json, os, sys
request = json.load(open(sys.argv[1]))
with open(request["results"], "a") as results:
    for item in request["models"]:
        print(json.dumps({"started": item["name"]}), file=results, flush=True)
        answer = ANSWERS[item["name"]]
        if answer is None:
            os.abort()
        print(json.dumps({"name": item["name"], **answer}), file=results, flush=True)
json.dump({}, open(sys.argv[2], "w"))
"""
TAKEN = {"operators": [["ethos-u", ["y0"]]], "reasons": {}}
CONVERTED = {"operators": [["QUANTIZE", ["somewhere"]], ["ethos-u", ["y0"]]], "reasons": {}}
LEFT = {"operators": [["RELU", ["y0_q"]]], "reasons": {"y0_q": "Unsupported shape"}}


def ask(monkeypatch, tmp_path, *answers):
    """Ask as many questions as there are answers of the stand-in; None is a crash."""
    worker = tmp_path / "worker.py"
    worker.write_text(VELA.replace("ANSWERS", repr({str(at): answer for at, answer in enumerate(answers)})))
    monkeypatch.setattr(asking, "WORKER", worker)
    monkeypatch.setattr(asking, "environment", lambda _: SimpleNamespace(python=sys.executable))
    return EthosUDelegate().probe([RELU] * len(answers), U55, limits=LIMITS)


def test_what_the_npu_takes_is_run_and_compared(monkeypatch, tmp_path):
    for answer in ask(monkeypatch, tmp_path, TAKEN, CONVERTED):
        assert (answer.taken, answer.compared) == (True, True)
        assert answer.error < 0.016


def test_what_is_left_to_the_processor_is_not_taken(monkeypatch, tmp_path):
    left, refused = ask(monkeypatch, tmp_path, LEFT, {"refused": "it ended with code 1"})
    assert (left.taken, left.compared) == (False, False)
    assert "left to the processor" in left.reason
    assert refused.reason == "it ended with code 1"


def test_after_a_crash_the_others_are_asked_again(monkeypatch, tmp_path):
    first, crashed, last = ask(monkeypatch, tmp_path, TAKEN, None, TAKEN)
    assert first.taken
    assert last.taken
    assert not crashed.taken
    assert "Vela" in crashed.reason


def test_a_compiler_that_answers_nothing_is_an_error(monkeypatch, tmp_path):
    worker = tmp_path / "worker.py"
    worker.write_text("raise SystemExit(1)")
    monkeypatch.setattr(asking, "WORKER", worker)
    monkeypatch.setattr(asking, "environment", lambda _: SimpleNamespace(python=sys.executable))
    with pytest.raises(VendorToolError, match="Vela"):
        EthosUDelegate().probe([RELU], U55, limits=LIMITS)


def test_the_road_can_be_asked():
    assert isinstance(find_delegate("ethosu"), Prober)


@pytest.mark.toolchain
@pytest.mark.parametrize("op", ["AveragePool", "Gelu", "GlobalAveragePool", "MatMul", "ReduceMax", "Softmax"])
def test_the_descriptor_says_what_vela_does(op):
    needs_toolchain("vela")
    result = probe(U55, lambda questions: EthosUDelegate().probe(questions, U55, limits=LIMITS), [op])
    assert {point.scheme for point in result.points} >= {"a8w8", "a16w8"}
    assert result.counts["agreed"] > 5
    assert not result.disagreements
