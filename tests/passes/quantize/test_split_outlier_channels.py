from dataclasses import dataclass

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.passes.quantize.split_outlier_channels import SplitOutlierChannels
from npuopt.quantization.channels.outliers import data_axis, refusal
from npuopt.target import parse_target
from support.integer_chip import HEAD
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import check_surroundings

BEFORE = "(float[2,3] x) => (float[2,2] y) <float[3,2] w = {1,2,8,6,3,4}> {y = MatMul(x, w)}"


def test_a_channel_is_read_twice_with_half_of_its_weights():
    assert_rewrites(
        SplitOutlierChannels({"y": [1]}),
        BEFORE,
        """(float[2,3] x) => (float[2,2] y) <int64[4] i = {0,1,2,1}, float[4,2] w = {1,2,4,3,3,4,4,3}>
        {s = Gather<axis=1>(x, i) y = MatMul(s, w)}""",
        tolerance=1e-6,
    )


def test_a_channel_that_is_named_twice_is_read_three_times():
    assert_rewrites(
        SplitOutlierChannels({"y": [1, 1]}),
        BEFORE.replace("8,6", "9,6"),
        """(float[2,3] x) => (float[2,2] y) <int64[5] i = {0,1,2,1,1}, float[5,2] w = {1,2,3,2,3,4,3,2,3,2}>
        {s = Gather<axis=1>(x, i) y = MatMul(s, w)}""",
        tolerance=1e-6,
    )


def test_layers_that_read_one_tensor_share_its_copies():
    text = """(float[2,2] x) => (float[2,1] y, float[2,1] z) <float[2,1] v = {%s}, float[1,2] w = {%s}>
        {y = MatMul(x, v) z = Gemm<transB=1>(x, w)}"""
    assert_rewrites(
        SplitOutlierChannels({"y": [0], "z": [0]}),
        text % ("4,1", "6,1"),
        """(float[2,2] x) => (float[2,1] y, float[2,1] z) <int64[3] i = {0,1,0}, float[3,1] v = {2,1,2},
        float[1,3] w = {3,1,3}> {s = Gather<axis=1>(x, i) y = MatMul(s, v) z = Gemm<transB=1>(s, w)}""",
        tolerance=1e-6,
    )


def test_channels_of_convolutions_lie_along_the_second_axis():
    assert_rewrites(
        SplitOutlierChannels({"y": [1]}),
        "(float[1,2,3,3] x) => (float[1,1,3,3] y) <float[1,2,1,1] w = {1,8}> {y = Conv(x, w)}",
        """(float[1,2,3,3] x) => (float[1,1,3,3] y) <int64[3] i = {0,1,1}, float[1,3,1,1] w = {1,4,4}>
        {s = Gather<axis=1>(x, i) y = Conv(s, w)}""",
        tolerance=1e-6,
    )


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("(float[2,2] x) => (float[2,2] y) {y = Relu(x)}", "no linear layer with constant weights"),
        ("(float[2,2] x, float[2,2] w) => (float[2,2] y) {y = MatMul(x, w)}", "no linear layer with constant weights"),
        (
            "(float[2,2] x) => (float[2,2] y) <float[2,2] w = {1,2,3,4}> {h = MatMul(x, w) y = MatMul(h, w)}",
            "w is read elsewhere too",
        ),
        (
            "(float[1,2,3,3] x) => (float[1,2,3,3] y) <float[2,1,1,1] w = {1,8}> {y = Conv<group=2>(x, w)}",
            "its channels are in groups",
        ),
        (
            "(float[2,2,2] x) => (float[2,2,2] y) <float[2,2,2] w = {1,2,3,4,5,6,7,8}> {y = MatMul(x, w)}",
            "more than two axes",
        ),
        ("(float[2,1] x) => (float[1,1] y) <float[2,1] w = {1,2}> {y = Gemm<transA=1>(x, w)}", "along the first axis"),
    ],
)
def test_left_alone(text, because):
    assert_leaves(SplitOutlierChannels({"y": [0]}), text, because=because)


def test_left_alone_where_the_target_does_not_take_the_copies():
    chip = parse_target(f"{HEAD}  MatMul: {{schemes: [a8w8, fp16]}}")
    assert_leaves(SplitOutlierChannels({"y": [1]}), BEFORE, because="the Gather would be refused", target=chip)


@pytest.mark.parametrize("channels", [[3], [-1], ["first"]])
def test_channels_must_be_there(channels):
    with pytest.raises(InputError, match="is none of its 3 input channels"):
        SplitOutlierChannels({"y": channels})(model_from(BEFORE))


@dataclass(frozen=True)
class SplitEverything(SplitOutlierChannels):
    """Splits the first channel of whatever has any."""

    def __call__(self, model, target=None):
        found = {node.outputs[0].name: [0] for node in model.graph if refusal(node) == "" and data_axis(node) >= 0}
        return SplitOutlierChannels(found)(model, target)


def test_whatever_surrounds_a_layer_keeps_its_numbers():
    def build(around):
        weight = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
        made = around.op("MatMul", around.input(2, 3), around.constant(weight))
        around.op("Relu", made)

    check_surroundings(SplitEverything(), build, examples=40, least_hits=0.2)
