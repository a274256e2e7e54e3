"""Rounding up or down, as is learned: the layer's result counts, not each weight."""

import json
import sys

import numpy as np
import pytest

from npuopt.errors import ToolchainMissingError
from npuopt.graph import save
from npuopt.quantization import Encoding, Encodings, open_samples
from npuopt.quantization.arithmetic import dequantize, quantize
from npuopt.quantization.block_encodings import BlockEncoding
from npuopt.quantization.blocks import block_values, round_blocks
from npuopt.quantization.rounding import learned_rounding
from npuopt.quantization.rounding.block_rounding import round_held_weights
from npuopt.quantization.rounding.cancellation import damped, feedback
from npuopt.quantization.rounding.learned_rounding import learned_rounder
from npuopt.quantization.rounding.round_weights import round_weights
from npuopt.quantization.steps import standard_steps
from npuopt.quantization.steps.weights import LearnRounding
from support.command import complaint, npuopt
from support.integer_chip import integer_chip
from support.rewrites import model_from
from support.stepping import start, work_on

torch = pytest.importorskip("torch", reason="the tune extra is not installed")

WIDTH, OUTPUTS, ITERATIONS = 32, 8, 200


@pytest.fixture(autouse=True)
def one_thread():
    """Learn such small layers in one thread: two wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def correlated(seed, *shape):
    """Return features of which a few directions hold nearly all the variance, as activations do."""
    mix = np.random.default_rng(7).normal(0, 1, (3, WIDTH))
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (*shape, 3)) @ mix + rng.normal(0, 0.1, (*shape, WIDTH))).astype(np.float32)


def literal(name, array):
    shape = ",".join(map(str, array.shape))
    return f"float[{shape}] {name} = {{{','.join(map(repr, array.ravel().tolist()))}}}"


ROWS = np.random.default_rng(0).normal(0, 1, (OUTPUTS, WIDTH)).astype(np.float32)
LAYERS = {
    "MatMul": ("float[4,32] x", "float[4,8] y", ROWS.T, "MatMul(x, w)", 1, lambda x: x),
    "Gemm": ("float[4,32] x", "float[4,8] y", ROWS, "Gemm<transB=1>(x, w)", 0, lambda x: x),
    "Conv": (
        "float[1,32,2,2] x",
        "float[1,8,2,2] y",
        ROWS.reshape(OUTPUTS, WIDTH, 1, 1),
        "Conv(x, w)",
        0,
        lambda x: x.transpose(0, 2, 1).reshape(-1, 1, WIDTH, 2, 2),
    ),
}


def as_rows(op, weight):
    return weight.T if op == "MatMul" else weight.reshape(OUTPUTS, WIDTH)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("op", LAYERS)
def test_a_layers_result_is_nearer_than_with_weights_rounded_to_the_nearest(tmp_path, op, per_channel):
    given, made, weight, call, axis, shaped = LAYERS[op]
    model = model_from(f"({given}) => ({made}) <{literal('w', weight)}> {{y = {call}}}")
    tops = np.abs(ROWS).max(axis=1) / 7
    encoding = Encoding(
        dtype="int4",
        scale=tuple(tops.tolist()) if per_channel else float(tops.max()),
        zero_point=0,
        axis=axis if per_channel else None,
    )
    np.savez(tmp_path / "samples.npz", x=shaped(correlated(1, 16, 4)))
    samples = open_samples(tmp_path / "samples.npz", model)
    learned = round_weights(model, Encodings(tensors={"w": encoding}), samples, rounder=learned_rounder(ITERATIONS))
    integers = learned["y"].integers
    assert integers.dtype == quantize(weight, encoding).dtype
    assert integers.min() >= -8
    assert integers.max() <= 7
    errors = [as_rows(op, dequantize(way, encoding) - weight) for way in (integers, quantize(weight, encoding))]
    unseen = correlated(2, 256)
    noise = [float(((unseen @ error.T) ** 2).mean()) for error in errors]
    assert noise[0] < noise[1] / 3, "on data that it did not see"


@pytest.mark.parametrize(
    "held",
    [
        BlockEncoding(dtype="int4", axis=0, block=8),
        BlockEncoding(dtype="uint4", axis=0, block=8, symmetric=False),
        BlockEncoding(dtype="int8", axis=1),
    ],
)
def test_so_it_is_with_weights_in_blocks(tmp_path, held):
    model = model_from(f"(float[4,32] x) => (float[4,8] y) <{literal('w', ROWS.T)}> {{y = MatMul(x, w)}}")
    np.savez(tmp_path / "samples.npz", x=correlated(1, 16, 4))
    samples = open_samples(tmp_path / "samples.npz", model)
    found = round_held_weights(model, {"w": held}, samples, rounder=learned_rounder(ITERATIONS))["w"]
    errors = [block_values(way, held.format) - ROWS for way in (found, round_blocks(ROWS, held.format))]
    unseen = correlated(2, 256)
    noise = [float(((unseen @ error.T) ** 2).mean()) for error in errors]
    assert noise[0] < noise[1] / 3


def cost(rows, integers, scale, second):
    error = integers * scale - rows
    return np.einsum("rf,fg,rg->r", error, second, error)


def test_learning_alone_beats_the_nearest_and_rounds_up_or_down(monkeypatch):
    monkeypatch.setattr(learned_rounding.Cancellation, "steps", lambda _, rows, *__: np.full(rows.shape, 7.0))
    features = correlated(3, 256)
    second = features.T.astype(np.float64) @ features / len(features)
    scale = np.float64(0.4)
    learned = learned_rounder(ITERATIONS)(second, 256).steps(ROWS.astype(np.float64), scale, (-8, 7))
    assert (np.abs(learned - ROWS / scale) <= 1).all()
    trusted = damped(second, 256)
    ratio = cost(ROWS, learned, scale, trusted) / cost(ROWS, np.rint(ROWS / scale), scale, trusted)
    assert ratio.mean() < 0.6


def test_no_row_is_worse_than_gptq_leaves_it():
    features = correlated(3, 64)
    second = features.T.astype(np.float64) @ features / len(features)
    rows, scale = ROWS.astype(np.float64), np.float64(0.4)
    ways = [rounder(second, 64).steps(rows, scale, (-8, 7)) for rounder in (feedback, learned_rounder(20))]
    costs = [cost(ROWS, way, scale, damped(second, 64)) for way in ways]
    assert (costs[1] <= costs[0]).all()


def test_weights_past_the_ends_of_the_grid_stay_on_it():
    rows = np.array([[3.0, -3.0, 0.04, 0.0]])
    found = learned_rounder(20)(np.eye(4), 100).steps(rows, np.array([[0.1]]), (-8, 7))
    assert found.tolist() == [[7, -8, 0, 0]]


def test_the_step_is_asked_for_and_takes_the_place_of_other_rounding(tmp_path):
    assert "learn-rounding" not in standard_steps(integer_chip().scheme("a8w8"))
    x = np.random.default_rng(1).normal(1, 1, (8, 1, 4, 32)).astype(np.float32)
    text = f"(float[1,4,32] x) => (float[1,4,8] y) <{literal('w', ROWS.T)}> {{y = MatMul(x, w)}}"
    work = work_on(text, tmp_path, x=x)
    applied = LearnRounding(iterations=20).apply(work, start(work))
    assert (applied.changed, list(applied.held.rounded)) == (1, ["y"])
    work.samples = None
    assert LearnRounding().apply(work, start(work)).changed == 0


def test_without_torch_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolchainMissingError, match="learned rounding needs torch") as raised:
        LearnRounding().rounder()
    assert raised.value.exit_code == 6
    assert "npuopt[tune]" in str(raised.value)


def test_weight_only_schemes_learn_too_and_say_so(tmp_path):
    save(model_from(f"(float[4,32] x) => (float[4,8] y) <{literal('w', ROWS.T)}> {{y = MatMul(x, w)}}"), tmp_path / "m")
    np.savez(tmp_path / "c.npz", x=correlated(1, 16, 4))
    given = ("quantize", tmp_path / "m", "-t", "host/onnxruntime", "--precision", "w4", "-o", tmp_path / "q.onnx")
    step = ("--step", "learn-rounding{iterations=20}")
    found = npuopt(*given, "--calibration", tmp_path / "c.npz", *step, "--steps-report", "--json")
    result = json.loads(found.stdout)
    assert [(each["name"], each["changed"]) for each in result["steps"]] == [("learn-rounding", 1)]
    assert [each["without"] for each in result["steps_report"]] == ["", "learn-rounding"]
    assert json.loads(npuopt(*given, *step, "--json").stdout)["steps"][0]["text"] == "no data to learn rounding by"
    assert "finds integers itself" in complaint(npuopt(*given, *step, "--rounding", "nearest"), 2)
