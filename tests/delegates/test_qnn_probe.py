"""Asking the real Hexagon compiler about one-op models, in batches that outlive its crashes."""

from __future__ import annotations

import onnx
import pytest

from npuopt.delegates.contract import Limits, Prober
from npuopt.delegates.qnn.delegate import QnnDelegate
from npuopt.delegates.registry import find_delegate
from npuopt.target import load_target
from npuopt.target.probe import probe
from npuopt.target.probing.build import build
from npuopt.target.probing.case import Case, Data, Parameter
from npuopt.target.probing.quantize import Quantizer
from npuopt.target.schema import Scheme

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("qnn")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

LIMITS = Limits(seconds=300, memory_mib=4096)
A8W8 = Scheme(activation="uint8", weight="int8", weight_axis="channel", bias="int32")
A16W8 = Scheme(activation="uint16", weight="int8", weight_axis="channel", bias="int32")
SM8750 = load_target("qualcomm/sm8750")
ROW = Data((1, 8, 16))
RELU = build(Case("Relu", (ROW,)), None)
WORKER = """
import json, os, sys, time
request = json.load(open(sys.argv[1]))
results = open(request["results"], "a")
def say(**line):
    print(json.dumps(line), file=results, flush=True)
for item in request["models"]:
    say(started=item["name"])
    if item["name"] == "1":
        BODY
    else:
        say(name=item["name"], refused="no", seconds=0)
json.dump({}, open(sys.argv[2], "w"))
"""
"""A stand-in for the compiler that refuses every model but the second, with which it does BODY."""


def ask(*pairs):
    """The answers to (case, scheme or None) pairs, asked together."""
    asked = [build(case, "a", Quantizer("a", scheme) if scheme else None) for case, scheme in pairs]
    return QnnDelegate().probe(asked, SM8750, limits=LIMITS)


def test_verdicts_come_with_the_vendors_reasons():
    relu, erf, ranked = ask(
        (Case("Relu", (ROW,)), None), (Case("Erf", (ROW,)), None), (Case("Relu", (Data((1,) * 6),)), A8W8)
    )
    assert relu.taken
    assert relu.compared
    assert "`Erf` are not supported" in erf.reason
    assert not ranked.taken


def test_what_is_computed_in_float_is_not_taken():
    rotary = Case("RotaryEmbedding", (Data((1, 4, 8, 16)), *(Parameter((1, 8, 8), "activation"),) * 2))
    in_float, right = ask((rotary, A8W8), (Case("Relu", (ROW,)), A16W8))
    assert in_float.reason == "computed in float between Dequantize and Quantize"
    assert right.taken
    assert right.error < 0.01


@pytest.fixture
def ask_stand_in(monkeypatch, tmp_path):
    """Ask three questions of a compiler that does `body` with the second."""

    def ask(body, question=RELU, limits=LIMITS):
        worker = tmp_path / "worker.py"
        worker.write_text(WORKER.replace("BODY", body))
        monkeypatch.setattr("npuopt.delegates.qnn.probe.WORKER", worker)
        before, second, after = QnnDelegate().probe([RELU, question, RELU], SM8750, limits=limits)
        assert (before.reason, after.reason) == ("no", "no")
        return second

    return ask


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        ("os.kill(os.getpid(), 11)", "crashed"),
        ("os.abort()", "crashed"),
        ("os.kill(os.getpid(), 9)", "out of memory"),
        ("os._exit(3)", "failed"),
        ("print('bad_alloc', flush=True); os._exit(1)", "out of memory"),
        ('results.write(\'{"name": "1\'); results.flush(); os.abort()', "crashed"),
    ],
)
def test_a_crash_of_any_kind_costs_one_question_only(ask_stand_in, body, ending):
    answer = ask_stand_in(body)
    assert not answer.taken
    assert answer.reason.startswith(f"the compiler {ending}")


def test_a_hang_costs_one_question_only(ask_stand_in):
    answer = ask_stand_in("time.sleep(600)", limits=Limits(seconds=5, memory_mib=1024))
    assert answer.reason == "the compiler timed out (limit: 5 s)"


@pytest.mark.parametrize(
    ("made", "taken"),
    [
        ("x * (x > 0)", True),
        ("x * (x > 0) + 0.05", True),
        ("x * (x > 0) + 0.1", False),
        ("x * 0 + np.nan", False),
        ("x[..., :8]", False),
    ],
)
def test_numbers_are_held_against_the_reference(ask_stand_in, made, taken):
    """The sample reaches 3.5, and 1.6 % of that are 0.056."""
    placement = [["QNNExecutionProvider", [["node", "Relu"]]]]
    answer = ask_stand_in(
        f"import numpy as np; x = np.load(item['inputs'])['0']; np.savez(item['outputs'], **{{'0': {made}}}); "
        f"say(name='1', placement={placement}, seconds=0)"
    )
    assert (answer.taken, answer.compared) == (taken, True)
    assert taken or "other numbers than ONNX Runtime" in answer.reason


@pytest.mark.parametrize(("made", "taken"), [("x != 0", True), ("x.astype(np.uint8)", False)])
def test_truth_is_stored_as_one(ask_stand_in, made, taken):
    """A chip that stores 2 for true goes wrong where it computes with it."""
    cast = build(Case("Cast", (Data((4, 8), 0, 10, "int32"),), {"to": onnx.TensorProto.BOOL}), None)
    placement = [["QNNExecutionProvider", [["node", "Cast"]]]]
    answer = ask_stand_in(
        f"import numpy as np; x = np.load(item['inputs'])['0']; "
        f"np.savez(item['outputs'], **{{'0': ({made}).view(bool)}}); "
        f"say(name='1', placement={placement}, seconds=0)",
        cast,
    )
    assert (answer.taken, answer.compared) == (taken, True)


def test_progress_is_told():
    told: list[int] = []
    QnnDelegate().probe([RELU] * 2, SM8750, limits=LIMITS, progress=told.append)
    assert told == [2]


def test_the_road_can_be_asked():
    assert isinstance(find_delegate("qnn"), Prober)


@pytest.mark.parametrize(
    "name",
    ["qcs6490", "sm8450", "sm8550", "sc8380xp", "sm8650", "sm8750", "sm8850"],
)
def test_landed_descriptors_agree_with_the_compiler(name):
    """A sample of what `npuopt targets probe` asks in full."""
    target = load_target(f"qualcomm/{name}")
    ops = ("Sigmoid", "CumSum", "DepthToSpace", "Mish", "OneHot", "Erf")
    result = probe(target, lambda asked: QnnDelegate().probe(asked, target, limits=LIMITS), ops)
    assert not result.disagreements
    assert result.counts["agreed"] > 20
