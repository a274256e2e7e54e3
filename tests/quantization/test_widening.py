"""Nodes that 8-bit activations leave too noisy are found by what they make of rounded inputs, and get 16 bits."""

import numpy as np
import pytest

from npuopt.graph import to_text
from npuopt.quantization.accuracy.held_activations import OutputNoise
from npuopt.quantization.accuracy.local_errors import local_errors
from npuopt.quantization.steps.activations import WidenActivations, wider_scheme
from support.integer_chip import integer_chip
from support.stepping import literal, start, work_on

WIDTH = 16
OUTLIER = np.where(np.arange(WIDTH) == 5, 300.0, 1.0)
TEXT = f"""(float[4,{WIDTH}] x) => (float[4,{WIDTH}] y) <float[{WIDTH},{WIDTH}] w = {{{literal(np.diag(OUTLIER))}}},
    float[{WIDTH}] g = {{{literal(1 / OUTLIER)}}}, float[{WIDTH}] b = {{{literal(np.zeros(WIDTH))}}}>
    {{p = MatMul(x, w) s = Reshape(p, n) h = LayerNormalization(s, g, b) y = Relu(h)}}""".replace(
    "float[16] g", "int64[2] n = {4,16}, float[16] g"
)
X = np.random.default_rng(0).normal(0, 1, (8, 4, WIDTH)).astype(np.float32)


def test_errors_are_those_of_each_node_alone(tmp_path):
    work = work_on(TEXT, tmp_path, x=X)
    before = to_text(work.model)
    errors = local_errors(work.model, work.encodings(), ["p", "h", "y"], work.samples, threads=1)
    assert to_text(work.model) == before
    assert errors.nodes["p"] > 30, "x is held well"
    assert errors.nodes["h"] < 25, "next to the outlier, 8 bits leave little of the others"
    assert errors.nodes["y"] > 30, "whatever became of its input before"
    held = work.encodings().tensors["p"]
    p = X[:4] @ np.diag(OUTLIER).astype(np.float32)
    rounded = (np.clip(np.rint(p / held.scale[0]) + held.zero_point[0], 0, 255) - held.zero_point[0]) * held.scale[0]
    assert errors.tensors["s"] == pytest.approx(10 * np.log10((p**2).sum() / ((rounded - p) ** 2).sum()), abs=0.1)


def test_a_node_that_rounding_makes_infinite_is_ruined(tmp_path):
    numbers = np.array([[1e-6, 1, 2, 255]] * 2, np.float32)
    work = work_on("(float[4] x) => (float[4] y) {a = Relu(x) y = Log(a)}", tmp_path, x=numbers)
    errors = local_errors(work.model, work.encodings(), ["y"], work.samples, threads=1)
    assert errors.nodes["y"] == -np.inf, "the logarithm of what 8 bits make 0"


def test_noisy_nodes_and_what_makes_their_inputs_are_widened(tmp_path):
    work = work_on(TEXT, tmp_path, x=X)
    applied = WidenActivations(least_sqnr_db=28).apply(work, start(work))
    assert applied.held.encodings.precisions == {"h": "a16w8", "p": "a16w8"}
    tensors = applied.held.encodings.tensors
    assert (tensors["s"].dtype, tensors["h"].dtype) == ("uint16", "uint16")
    assert tensors["y"].dtype == "uint8"
    assert applied.held.encodings.corrections == {}


def test_small_errors_are_widened_too_where_they_add_up(tmp_path):
    work = work_on(TEXT, tmp_path, x=X)
    found = [
        set(
            WidenActivations(least_sqnr_db=0, least_total_db=total, least_output_db=0)
            .apply(work, start(work))
            .held.encodings.precisions
        )
        for total in (0, 30, 60)
    ]
    assert found[0] == set()
    assert found[1] >= {"h", "p"}, "the noisiest first, with what makes its input"
    assert found[2] == {"p", "h", "y"}, "a Reshape takes the type of what it moves"


def test_stretches_that_cost_the_outputs_most_are_widened_until_these_are_good_enough(tmp_path):
    """What the outlier hides is needed behind it; what is added to the normalized result costs next to nothing."""
    text = TEXT.replace("y = Relu(h)", "r = Relu(x) c = Sigmoid(r) y = Add(h, c)")
    work = work_on(text, tmp_path, x=X)
    alone = {"least_sqnr_db": 0, "least_total_db": 0}
    before = WidenActivations(**alone, least_output_db=10).apply(work, start(work))
    assert before.changed == 0, "10 dB are there without"
    applied = WidenActivations(**alone, least_output_db=30).apply(work, start(work))
    wide = set(applied.held.encodings.precisions)
    assert wide >= {"p", "h"}
    assert "c" not in wide
    samples = [dict(sample) for sample in work.samples]
    noise = OutputNoise(work.model, samples, threads=1)
    reached = [noise.sqnr_db(held) for held in (work.encodings(), applied.held.encodings)]
    assert reached[0] < 25
    assert reached[1] >= 30
    assert "for what they do to the outputs" in applied.text


def test_a_target_says_what_8_bits_must_leave_of_the_outputs(tmp_path):
    """Its kernels may round otherwise than the formula, and a coarse network amplifies that; the step's own counts."""
    alone = {"least_sqnr_db": 0, "least_total_db": 0}
    content = work_on(TEXT, tmp_path, chip=integer_chip(least_output_db=10), x=X)
    assert WidenActivations(**alone).apply(content, start(content)).changed == 0
    assert WidenActivations(**alone, least_output_db=30).apply(content, start(content)).changed == 2
    unsaid = work_on(TEXT, tmp_path, x=X)
    assert WidenActivations(**alone).apply(unsaid, start(unsaid)).changed == 2, "22 dB otherwise"


def test_what_makes_the_outputs_is_widened_where_its_own_rounding_is_much_of_the_noise(tmp_path):
    """A Relu gives what it reads in the same steps; of squares, most are small and the steps follow the largest."""
    alone = {"least_sqnr_db": 0, "least_total_db": 0, "least_output_db": 0}
    head = f"(float[4,{WIDTH}] x) => (float[4,{WIDTH}] y)"
    squares = f"{head} {{s = Relu(x) y = Mul(s, s)}}"
    found: list[dict[str, str]] = []
    for text, bound in ((squares, 60), (f"{head} {{y = Relu(x)}}", 60), (squares, 5)):
        work = work_on(text, tmp_path, chip=integer_chip(wide_outputs_below_db=bound), x=X.clip(-2, 2))
        found.append(WidenActivations(**alone).apply(work, start(work)).held.encodings.precisions)
    assert found == [{"y": "a16w8"}, {}, {}], "5 dB are there without"


def test_a_result_that_only_float_nodes_read_counts_as_it_is_held(tmp_path):
    """What x holds well sums up to something rare and large in the last sample, and leaves few steps for the others."""
    ones = literal(np.ones((WIDTH, WIDTH)))
    text = f"""(float[4,{WIDTH}] x) => (float[4,{WIDTH}] y) <float[{WIDTH},{WIDTH}] w = {{{ones}}}>
        {{p = MatMul(x, w) y = Relu(p)}}"""
    rare = X.clip(-2, 2)
    rare[-1] = 2
    work = work_on(text, tmp_path, x=rare)
    work.precisions = {"y": "fp16"}
    encodings = work.encodings()
    ratios = [
        local_errors(work.model, encodings, ["p"], work.samples, held=held, threads=1).nodes["p"] for held in ((), "p")
    ]
    assert ratios[0] > 38
    assert ratios[1] < 35
    applied = WidenActivations(least_sqnr_db=36, least_total_db=0).apply(work, start(work))
    assert applied.held.encodings.precisions == {"y": "fp16", "p": "a16w8"}


def test_what_makes_the_outputs_is_widened_on_request(tmp_path):
    work = work_on(
        """(float[4,8] x) => (float[8,4] y) <int64[2] n = {8,4}>
        {a = Relu(x) b = Relu(a) c = Sigmoid(b) y = Reshape(c, n)}""",
        tmp_path,
        x=X[..., :8],
    )
    assert WidenActivations().apply(work, start(work)).changed == 0
    applied = WidenActivations(outputs=True).apply(work, start(work))
    assert applied.held.encodings.precisions == {"b": "a16w8", "c": "a16w8"}
    assert applied.held.encodings.tensors["y"].dtype == "uint16", "a Reshape takes the type of what it moves"


def test_nodes_whose_scheme_the_user_chose_stay(tmp_path):
    work = work_on(TEXT, tmp_path, x=X)
    work.precisions = {"h": "fp16"}
    held = start(work)
    applied = WidenActivations().apply(work, held)
    assert applied.held.encodings.precisions.get("h") == "fp16"


def test_a_model_that_8_bits_hold_well_stays(tmp_path):
    work = work_on("(float[4,8] x) => (float[4,8] y) {y = Relu(x)}", tmp_path, x=X[..., :8])
    assert WidenActivations().apply(work, start(work)).changed == 0


@pytest.mark.parametrize(("scheme", "wider"), [("a8w8", "a16w8"), ("a16w8", None), ("fp16", None)])
def test_the_wider_scheme_has_the_same_weights(scheme, wider):
    assert wider_scheme(integer_chip(), scheme) == wider


def test_without_a_wider_scheme_nothing_changes(tmp_path):
    work = work_on(TEXT, tmp_path, "a16w8", x=X)
    applied = WidenActivations().apply(work, start(work))
    assert applied.changed == 0
    assert "no scheme of the target" in applied.text
