"""Asking the real Hexagon compiler about one-op models, in batches that outlive its crashes."""

from __future__ import annotations

import pytest

from npuopt.delegates.contract import Limits, Prober
from npuopt.delegates.qnn.delegate import QnnDelegate
from npuopt.delegates.registry import find_delegate
from npuopt.target import load_target
from npuopt.target.probe import probe
from npuopt.target.probing.build import build
from npuopt.target.probing.case import Case, Data, Fixed, Parameter
from npuopt.target.probing.quantize import Quantizer
from npuopt.target.schema import Scheme

pytestmark = [pytest.mark.qnn, pytest.mark.xdist_group("qnn")]
pytest.importorskip("onnxruntime_qnn", reason="the qnn extra is not installed")

LIMITS = Limits(seconds=300, memory_mib=4096)
A8W8 = Scheme(activation="uint8", weight="int8", weight_axis="channel", bias="int32")
A16W8 = Scheme(activation="uint16", weight="int8", weight_axis="channel", bias="int32")
SM8750 = load_target("qualcomm/sm8750")
ROW = Data((1, 8, 16))
CRASHING = Case("Resize", (Data((1, 4, 4, 4, 4)), None, Fixed((1.0, 1.0, 2.0, 2.0, 2.0), "float32")), {"mode": "cubic"})
"""Ends the process that compiles it with a segmentation fault (QNN SDK 2.51.0)."""


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


def test_what_is_computed_in_float_or_wrong_is_not_taken():
    rotary = Case("RotaryEmbedding", (Data((1, 4, 8, 16)), *(Parameter((1, 8, 8), "activation"),) * 2))
    in_float, wrong, right = ask((rotary, A8W8), (Case("Swish", (ROW,)), A16W8), (Case("HardSwish", (ROW,)), A16W8))
    assert in_float.reason == "computed in float between Dequantize and Quantize"
    assert "other numbers than ONNX Runtime" in wrong.reason
    assert wrong.error > 0.1
    assert right.taken
    assert right.error < 0.001


def test_a_crash_costs_one_question_only():
    before, crashed, after = ask((Case("Relu", (ROW,)), None), (CRASHING, None), (Case("Exp", (ROW,)), None))
    assert (before.taken, crashed.taken, after.taken) == (True, False, True)
    assert crashed.reason == "the compiler crashed (Segmentation fault)"


def test_a_hang_costs_one_question_only(monkeypatch, tmp_path):
    source = (
        "import json, sys, time\n"
        "request = json.load(open(sys.argv[1])); out = open(request['results'], 'a')\n"
        "for item in request['models']:\n"
        "    print(json.dumps({'started': item['name']}), file=out, flush=True)\n"
        "    if item['name'] == '1': time.sleep(60)\n"
        "    print(json.dumps({'name': item['name'], 'refused': 'no', 'seconds': 0}), file=out, flush=True)\n"
        "json.dump({}, open(sys.argv[2], 'w'))\n"
    )
    (tmp_path / "worker.py").write_text(source)
    monkeypatch.setattr("npuopt.delegates.qnn.probe.WORKER", tmp_path / "worker.py")
    asked = [build(Case("Relu", (ROW,)), None)] * 3
    answers = QnnDelegate().probe(asked, SM8750, limits=Limits(2, 1024))
    assert [answer.reason for answer in answers] == ["no", "the compiler timed out (limit: 2 s)", "no"]


def test_progress_is_told():
    told: list[int] = []
    QnnDelegate().probe([build(Case("Relu", (ROW,)), None)] * 2, SM8750, limits=LIMITS, progress=told.append)
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
    ops = ("Sigmoid", "LayerNormalization", "CumSum", "DepthToSpace", "Erf")
    result = probe(target, lambda asked: QnnDelegate().probe(asked, target, limits=LIMITS), ops)
    assert not result.disagreements
    assert result.counts["agreed"] > 20
