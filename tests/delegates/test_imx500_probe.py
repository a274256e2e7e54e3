"""Asking the IMX500 converter about one-op models: with a stand-in for it, and the real one."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from npuopt.delegates.arrays import save_arrays
from npuopt.delegates.contract import Limits
from npuopt.delegates.imx500 import probe as asking
from npuopt.delegates.imx500.delegate import Imx500Delegate
from npuopt.errors import VendorToolError
from npuopt.target import load_target
from npuopt.target.probing.build import build, run_reference
from npuopt.target.probing.case import Case, Data
from npuopt.target.probing.quantize import Quantizer
from support.toolchains import needs_toolchain

CHIP = load_target("sony/imx500")
LIMITS = Limits(seconds=120, memory_mib=8192)
READER = """
import json, shutil, sys
request = json.load(open(sys.argv[1]))
with open(request["results"], "a") as results:
    for item in request["models"]:
        print(json.dumps({"started": item["name"]}), file=results, flush=True)
        said = ANSWERS[item["name"]]
        if not said:
            shutil.copy(MADE, item["outputs"])
        print(json.dumps({"name": item["name"], **({"refused": said} if said else {})}), file=results, flush=True)
json.dump({}, open(sys.argv[2], "w"))
"""


def question(op, shape=(1, 4, 8, 8)):
    return build(Case(op, (Data(shape),)), "a8w8", Quantizer("a8w8", CHIP.schemes["a8w8"]))


RELU = question("Relu")


def ask(monkeypatch, tmp_path, *said, made=None, refuse=lambda model: None):
    """Ask about Relu as often as there are answers of the reader; "" is a yes, which the whole converter may refuse."""
    right = run_reference(RELU.model, RELU.sample)["y0"]
    save_arrays(tmp_path / "made.npz", [right if made is None else made])
    worker = tmp_path / "worker.py"
    answers = {str(place): one for place, one in enumerate(said)}
    worker.write_text(READER.replace("ANSWERS", repr(answers)).replace("MADE", repr(str(tmp_path / "made.npz"))))
    converted = []

    def pack(model, folder, *, limits):
        converted.append(model.stat().st_size)
        refuse(converted)

    monkeypatch.setattr(asking, "WORKER", worker)
    monkeypatch.setattr(asking, "environment", lambda _: SimpleNamespace(python=sys.executable))
    monkeypatch.setattr(asking, "pack", pack)
    return Imx500Delegate().probe([RELU] * len(said), CHIP, limits=LIMITS), converted


def test_what_the_reader_takes_is_compared_and_converted_in_one_model(monkeypatch, tmp_path):
    answers, converted = ask(monkeypatch, tmp_path, "", "Node is not supported", "")
    assert [(answer.taken, answer.compared) for answer in answers] == [(True, True), (False, False), (True, True)]
    assert answers[1].reason == "Node is not supported"
    assert len(converted) == 1


def test_what_the_reader_takes_and_the_converter_refuses_is_refused(monkeypatch, tmp_path):
    def refuse(converted):
        if len(converted) in (1, 3):  # both at once, and the second alone
            raise VendorToolError("no engine for it")

    answers, _ = ask(monkeypatch, tmp_path, "", "", refuse=refuse)
    assert [(answer.taken, answer.reason) for answer in answers] == [(True, ""), (False, "no engine for it")]


def test_other_numbers_are_refused_and_not_converted(monkeypatch, tmp_path):
    [answer], converted = ask(monkeypatch, tmp_path, "", made=np.zeros((1, 4, 8, 8), np.float32))
    assert "other numbers than ONNX Runtime" in answer.reason
    assert not converted


@pytest.mark.toolchain
@pytest.mark.slow
def test_the_real_converter_takes_relu_and_refuses_asinh_and_batches():
    if shutil.which("java") is None:
        pytest.skip("the converter needs Java 17 on PATH")
    needs_toolchain("imx500")
    questions = [RELU, question("Tanh"), question("Asinh"), question("Relu", (2, 4, 8, 8))]
    answers = Imx500Delegate().probe(questions, CHIP, limits=LIMITS)
    assert [answer.taken for answer in answers] == [True, True, False, False]
    assert [answer.error for answer in answers[:2]] == [0, 0]
    assert "Asinh" in answers[2].reason
    assert "batch" in answers[3].reason
