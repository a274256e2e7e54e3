"""The contract of steps: which there are, how they are chosen, and what they do to how numbers are held."""

from dataclasses import replace

import numpy as np
import pytest

from npuopt.errors import UsageError
from npuopt.quantization.assignment import constants
from npuopt.quantization.assignment.weights import weight_encoding
from npuopt.quantization.steps import FloatStep, choose_steps, make_step, standard_steps, step_types
from npuopt.quantization.steps.weights import CorrectBiases, RoundWeights, WidenWeights
from support.integer_chip import integer_chip
from support.stepping import start, work_on

CHIP = integer_chip()


def convolution(seed=0):
    weight = np.random.default_rng(seed).normal(0, 1, (4, 8, 1, 1))
    numbers = ",".join(f"{number:.4f}" for number in weight.ravel())
    return f"""(float[1,8,4,4] x) => (float[1,4,4,4] y) <float[4,8,1,1] w = {{{numbers}}}, float[4] b = {{0,0,0,0}}>
        {{y = Conv(x, w, b)}}"""


def test_every_step_says_what_it_does_and_float_steps_come_first():
    found = list(step_types().values())
    kinds = [issubclass(step, FloatStep) for step in found]
    assert kinds == sorted(kinds, reverse=True)
    for step in found:
        assert step.__doc__
        for option in step.model_fields:
            assert f"{option}:" in step.__doc__, f"{step.name} does not say what {option} is"
    assert set(standard_steps(CHIP.scheme("a8w8"))) <= set(step_types())


def test_standard_steps_with_some_more_and_without_some():
    scheme = CHIP.scheme("a8w8")
    wanted = RoundWeights(most_features=7)
    _, deciding = choose_steps(scheme, [wanted], ["correct-biases"])
    assert wanted in deciding, "its options count"
    assert not [step for step in deciding if isinstance(step, CorrectBiases)]


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("round-weight", {}, "no quantization step called 'round-weight'; did you mean round-weights"),
        ("nothing-like-it", {}, "there are "),
        ("round-weights", {"colour": "red"}, "has no option 'colour'; its options: most_features"),
        ("round-weights", {"most_features": "many"}, "'many' does not fit option 'most_features'"),
        ("correct-biases", {"most": "1"}, "its options: none"),
    ],
)
def test_wrong_steps(name, options, what):
    with pytest.raises(UsageError, match=what):
        make_step(name, options)
    assert UsageError.exit_code == 2


def test_a_step_that_is_not_there_cannot_be_left_out():
    with pytest.raises(UsageError, match="no quantization step called 'round'"):
        choose_steps(CHIP.scheme("a8w8"), (), ["round"])


def test_biases_are_corrected_only_when_asked_for(tmp_path):
    x = np.random.default_rng(1).normal(1, 1, (4, 1, 8, 4, 4)).astype(np.float32)
    work = work_on(convolution(), tmp_path, x=x)
    plain = start(work)
    assert plain.encodings.corrections == {}
    corrected = CorrectBiases().apply(work, plain)
    assert corrected.changed == 1
    assert len(corrected.held.encodings.corrections["y"][2]) == 4
    with_both = RoundWeights().apply(work, corrected.held).held
    without = RoundWeights().apply(work, plain).held
    assert with_both.rounded["y"].correction is not None
    assert without.rounded["y"].correction is None


def test_noisy_weights_are_widened_and_biases_stay_as_they_were(tmp_path):
    x = np.random.default_rng(1).normal(1, 1, (8, 1, 8, 4, 4)).astype(np.float32)
    work = work_on(convolution(), tmp_path, "a16w8", x=x)
    held = RoundWeights().apply(work, start(work)).held
    assert WidenWeights(least_sqnr_db=0).apply(work, held).changed == 0
    wide = WidenWeights(least_sqnr_db=200).apply(work, held)
    assert wide.changed == 1
    assert wide.held.encodings.tensors["w"].dtype == "int16"
    assert wide.held.rounded == {}
    assert wide.held.encodings.corrections == {}, "nobody asked for any"


def test_layers_with_more_features_than_wanted_stay_at_the_nearest(tmp_path):
    x = np.random.default_rng(1).normal(1, 1, (8, 1, 8, 4, 4)).astype(np.float32)
    work = work_on(convolution(), tmp_path, x=x)
    assert RoundWeights(most_features=8).apply(work, start(work)).changed == 1
    assert RoundWeights(most_features=7).apply(work, start(work)).changed == 0


def test_without_data_weights_stay_at_the_nearest(tmp_path):
    work = work_on(convolution(), tmp_path, x=np.ones((1, 1, 8, 4, 4), np.float32))
    work.samples = None
    assert RoundWeights().apply(work, start(work)).changed == 0


def test_scales_of_weights_are_searched_once_for_all_that_ask(tmp_path, monkeypatch):
    searched = []

    def search(array, held, axis):
        searched.append(held.dtype)
        return weight_encoding(array, held, axis)

    monkeypatch.setattr(constants, "weight_encoding", search)
    work = work_on(convolution(), tmp_path, x=np.ones((1, 1, 8, 4, 4), np.float32))
    first = work.encodings()
    assert replace(work).encodings(precisions={"y": "a16w8"}).tensors["w"] == first.tensors["w"]
    assert searched == ["int8"]
    assert work.encodings(wide={"y"}, precisions={"y": "a16w8"}).tensors["w"].dtype == "int16"
    assert searched == ["int8", "int16"], "another format is another search"
