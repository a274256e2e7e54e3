"""`npuopt targets probe` with a prober that answers what a test wants."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from npuopt.delegates import registry
from npuopt.target.probing.answer import Answer
from support.command import complaint, npuopt
from support.toy_road import ToyDelegate, toy_files

HANGING = """
import json, os, sys, time
open(PIDS, "a").write(str(os.getpid()))
print(json.dumps({"started": "0"}), file=open(json.load(open(sys.argv[1]))["results"], "a"), flush=True)
open(PIDS + ".ready", "w")
time.sleep(600)
"""
"""A stand-in for the compiler that never answers."""


class Agreeable(ToyDelegate):
    """Takes what the toy chip's descriptor takes: two ops in two schemes, up to rank 5."""

    @staticmethod
    def takes(question):
        model = question.model.graph
        ranks = [len(info.type.tensor_type.shape.dim) for info in (*model.input, *model.output)]
        is_float = all(info.type.tensor_type.elem_type in (1, 10) for info in (*model.input, *model.output))
        return question.op in ("MatMul", "Relu") and max(ranks) <= 5 and is_float

    def probe(self, questions, target, *, limits, progress=lambda _: None):
        progress(len(questions))
        return [Answer(taken=self.takes(question)) for question in questions]


class Contrary(Agreeable):
    """Takes all but Relu in a8w8."""

    @staticmethod
    def takes(question):
        return (question.op, question.scheme) != ("Relu", "a8w8")


class Silent:
    """Can neither be asked nor says why, as a plug-in's delegate may."""


@pytest.fixture
def chip(tmp_path):
    return toy_files(tmp_path)[0]


def use(monkeypatch, delegate):
    monkeypatch.setitem(registry.ROADS, "qnn", f"{delegate.__module__}:{delegate.__name__}")


def test_agreement_is_exit_code_0(chip, monkeypatch):
    use(monkeypatch, Agreeable)
    done = npuopt("targets", "probe", chip, "--op", "Relu", "--op", "Erf")
    assert (done.returncode, done.stderr) == (0, "")
    assert "toy/chip: points asked" in done.stdout
    assert "Disagreements" not in done.stdout
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    asked, agreed, *others = map(int, rows["all"])
    assert asked == agreed > 10
    assert others == [0, 0, 0]
    assert set(rows) >= {"fp16", "a8w8"}


def test_disagreement_is_exit_code_3(chip, monkeypatch):
    use(monkeypatch, Contrary)
    done = npuopt("targets", "probe", chip, "--op", "Relu", "--json")
    points = json.loads(done.stdout)["points"]
    wrong = [point for point in points if point["outcome"] == "wrong"]
    assert {(point["op"], point["scheme"]) for point in wrong} == {("Relu", "a8w8")}
    apart = [point for point in points if point["outcome"] in ("wrong", "stricter")]
    assert f"the descriptor disagrees on {len(apart)} point(s)" in complaint(done, 3)
    shown = npuopt("targets", "probe", chip, "--op", "Relu").stdout
    assert "Relu(float32[2x3])" in shown.partition("points asked")[0]


def test_a_road_that_cannot_be_asked(chip, monkeypatch):
    use(monkeypatch, Silent)
    assert "its delegate has no way to ask" in complaint(npuopt("targets", "probe", chip), 2)


def test_a_compiler_that_is_not_here_is_one_sentence():
    said = complaint(npuopt("targets", "probe", "apple/ane-ios18"), 2)
    assert "apple/ane-ios18: cannot be probed: Core ML, which gives each operation its processor" in said


def test_control_c_ends_the_compiler_too(chip, tmp_path, monkeypatch):
    pids = tmp_path / "pids"
    worker = tmp_path / "worker.py"
    worker.write_text(f"PIDS = {str(pids)!r}{HANGING}")
    monkeypatch.setattr("npuopt.delegates.qnn.probe.WORKER", worker)
    monkeypatch.setattr("npuopt.delegates.qnn.probe.ensure_available", lambda: None)
    monkeypatch.setattr("npuopt.delegates.qnn.delegate.ensure_available", lambda: None)

    def interrupt():
        ready = pids.with_name("pids.ready")
        while not ready.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    done = npuopt("targets", "probe", chip, "--op", "Relu")
    assert "interrupted" in complaint(done, 130)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)
