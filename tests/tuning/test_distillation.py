from dataclasses import replace

import numpy as np
import pytest
import torch

from npuopt.errors import InputError, UsageError
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.passes.tune.insert_weights import InsertWeights
from npuopt.quantization.assignment.weights import fitted_scales
from npuopt.quantization.encodings import Encoding, Encodings, per_tensor
from npuopt.tuning.distillation import distil, learnable, share_of_rate
from npuopt.tuning.network import Network
from npuopt.tuning.options import TuningOptions
from npuopt.tuning.sparsity import masks
from support.numbers import run
from support.pruning import model_with, numbers
from support.rewrites import model_from

TEXT = """(float[64,8] x) => (float[64,6] y) <float[8,16] a, float[16] c, float[16,6] b>
{ h = MatMul(x, a) k = Add(h, c) r = Relu(k) y = MatMul(r, b) }"""
SAMPLES = [{"x": numbers(seed, 64, 8)} for seed in range(48)]
OPTIONS = TuningOptions(epochs=10, weight_rate=3e-3)


def small_model():
    return model_with(TEXT, a=numbers(100, 8, 16), c=numbers(101, 16), b=numbers(102, 16, 6))


def encodings_of(model):
    """Return weights in 4 bits, activations in 8."""
    held = {"x": per_tensor("uint8", 0.03, 128), "r": per_tensor("uint8", 0.06, 0), "y": per_tensor("uint8", 0.3, 128)}
    for name in ("a", "b"):
        array = model.graph.initializers[name].const_value.numpy()
        scales = fitted_scales(array.T.copy(), "int4")
        held[name] = Encoding(dtype="int4", scale=tuple(scales.tolist()), zero_point=(0,), axis=1)
    return Encodings(tensors=held)


def distance(model, encodings, samples, loss):
    """Return how far the quantized model is from the float one, measured in ONNX Runtime."""
    wanted = np.array([run(small_model(), sample)["y"] for sample in samples], np.float64)
    InsertQuantizeDequantize(encodings=encodings)(model)
    got = np.array([run(model, sample)["y"] for sample in samples], np.float64)
    if loss == "error":
        return float(np.mean((got - wanted) ** 2))
    wanted, got = (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)) for logits in (wanted, got))
    return float(np.mean(np.sum(np.exp(wanted) * (wanted - got), axis=-1)))


@pytest.mark.parametrize("loss", ["kl", "error"])
def test_a_tuned_model_is_nearer_to_the_float_one_on_samples_it_never_saw(loss):
    model = small_model()
    encodings = encodings_of(model)
    unseen = [{"x": numbers(seed, 64, 8)} for seed in range(1000, 1032)]
    before = distance(small_model(), encodings, unseen, loss)
    tuned = distil(model, encodings, SAMPLES, replace(OPTIONS, loss=loss))
    assert tuned.best > 0
    assert tuned.losses[tuned.best] < tuned.losses[0]
    InsertWeights(tuned.weights)(model)
    after = distance(model, tuned.encodings, unseen, loss)
    assert after < 0.95 * before


def test_the_same_seed_gives_the_same_weights():
    first, second = (distil(small_model(), encodings_of(small_model()), SAMPLES[:8], OPTIONS) for _ in range(2))
    assert first.losses == second.losses
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_the_start_is_kept_when_nothing_learned_is_better():
    tuned = distil(
        small_model(), encodings_of(small_model()), SAMPLES[:8], TuningOptions(epochs=1, weight_rate=10, scale_rate=5)
    )
    assert (tuned.best, tuned.weights) == (0, {})
    assert tuned.encodings == encodings_of(small_model())


def test_samples_of_their_own_choose_the_best_state_where_they_are_given():
    model, others = small_model(), SAMPLES[40:]
    still = TuningOptions(epochs=1, weight_rate=0, scale_rate=0, held_out=0)
    wanted = distil(model, encodings_of(model), others, still).losses[0]
    judged = distil(model, encodings_of(model), SAMPLES[:40], replace(still, weight_rate=3e-3), held_out=others)
    assert judged.losses[0] == pytest.approx(wanted)
    assert judged.losses[1] < wanted


def test_learning_starts_from_what_is_given_and_keeps_it_where_nothing_is_better():
    start = {"c": numbers(7, 16), "no constant": numbers(8, 3)}
    still = TuningOptions(epochs=1, weight_rate=0, scale_rate=0)
    tuned = distil(small_model(), encodings_of(small_model()), SAMPLES[:8], still, start=start)
    plain = distil(small_model(), encodings_of(small_model()), SAMPLES[:8], still)
    np.testing.assert_array_equal(tuned.weights["c"], start["c"])
    np.testing.assert_array_equal(tuned.weights["a"], numbers(100, 8, 16))
    assert tuned.losses[0] > plain.losses[0], "these biases are nobody's"


def test_sparse_weights_stay_sparse():
    model = small_model()
    options = replace(OPTIONS, epochs=6, sparsity="2:4")
    tuned = distil(model, encodings_of(model), SAMPLES, options)
    for name in ("a", "b"):
        groups = tuned.weights[name].T.reshape(-1, 4)
        assert ((groups != 0).sum(axis=1) <= 2).all()
    assert tuned.losses[-1] < tuned.losses[0]


def test_rates_rise_and_then_fall_to_nothing():
    shares = [share_of_rate(step, 40) for step in range(41)]
    assert shares[:5] == sorted(shares[:5])
    assert max(shares) == shares[4] == 1
    assert shares[4:] == sorted(shares[4:], reverse=True)
    assert shares[40] == 0


def test_masks_keep_the_two_largest_of_four_features():
    text = "(float[1,4,5,5] x) => (float[1,2,5,5] y) <float[2,4,1,1] w = {1,-5,2,3, 0,0,0,7}> { y = Conv(x, w) }"
    np.testing.assert_array_equal(masks(model_from(text))["w"].reshape(2, 4), [[0, 1, 0, 1], [1, 0, 0, 1]])


def test_an_inner_tensor_is_learned_too():
    model = small_model()
    plain = distil(model, encodings_of(model), SAMPLES, OPTIONS)
    guided = distil(model, encodings_of(model), SAMPLES, replace(OPTIONS, inner=("k",), inner_weight=100))

    def inner_error(tuned):
        network, kept = Network(model), {name: torch.from_numpy(array) for name, array in tuned.weights.items()}
        pairs = [
            (network.run(one, keep=["k"])["k"], network.run(one, weights=kept, keep=["k"])["k"]) for one in SAMPLES
        ]
        return sum(float(((wanted - got) ** 2).mean()) for wanted, got in pairs)

    assert inner_error(guided) < inner_error(plain)


def test_a_pruned_student_learns_from_the_whole_teacher():
    student = model_with(
        TEXT.replace("[8,16] a", "[8,12] a").replace("[16] c", "[12] c").replace("[16,6] b", "[12,6] b"),
        a=numbers(100, 8, 16)[:, :12], c=numbers(101, 16)[:12], b=numbers(102, 16, 6)[:12],
    )  # fmt: skip
    tuned = distil(student, encodings_of(student), SAMPLES, OPTIONS, teacher=small_model())
    assert tuned.losses[tuned.best] < 0.7 * tuned.losses[0]


def test_masks_and_tables_of_facts_do_not_learn():
    text = """(float[1,2,4] x) => (float[1,2,4] y) <float[2,4] mask = {0,0,0,0,0,0,0,0}, float[4] angle = {1,1,1,1},
    float[4] bias = {1,2,3,4}, float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}>
    { a = Mul(x, angle) b = Add(a, mask) c = MatMul(b, w) y = Add(c, bias) }"""
    assert learnable(model_from(text)) == ["w", "bias"]


def test_an_op_without_a_gradient_is_named():
    model = model_from("(float[4] x) => (int64[1,N] y) { y = NonZero(x) }")
    with pytest.raises(InputError, match="NonZero cannot be tuned through"):
        distil(model, Encodings(tensors={}), SAMPLES, OPTIONS)


def test_an_inner_tensor_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="no inner tensor nothing"):
        distil(small_model(), encodings_of(small_model()), SAMPLES, TuningOptions(inner=("nothing",)))


def test_a_loss_that_is_no_number_stops_it():
    with pytest.raises(InputError, match="no finite number"):
        distil(small_model(), encodings_of(small_model()), [{"x": np.full((64, 8), np.nan, np.float32)}] * 2, OPTIONS)


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"weight_rate": -1.0}, "weight_rate"),
        ({"held_out": 1.0}, "held_out"),
        ({"loss": "l1"}, "loss 'l1'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, because):
    with pytest.raises(UsageError, match=because):
        TuningOptions(**options)
