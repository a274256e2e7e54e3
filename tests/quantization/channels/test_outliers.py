"""Which channels are worth a copy, and what the step asks for."""

import numpy as np
import onnx_ir as ir

from npuopt.quantization.channels.outliers import outlier_channels, split_weight
from npuopt.quantization.steps import Work, standard_steps
from npuopt.quantization.steps.outliers import SplitOutlierChannels
from npuopt.road.stepping import REWRITES
from support.integer_chip import integer_chip
from support.rewrites import model_from

LAYERS = """(float[2,4] x) => (float[2,2] y, float[2,1] z, float[2,1] t)
    <float[4,2] v = {1,1, 9,1, 1,1, 1,2}, float[4,1] w = {1,5,1,1}, float[1,1] u = {9}>
    {y = MatMul(x, v) z = MatMul(x, w) t = MatMul(z, u)}"""


def layers():
    return [node for node in model_from(LAYERS).graph if node.op_type == "MatMul"]


def test_the_channel_that_widens_most_comes_first():
    assert outlier_channels(layers()[:2], 2) == [1, 1]


def test_no_copy_is_made_where_none_helps():
    assert outlier_channels(layers()[2:], 3) == []


def test_the_copies_add_up_to_the_channel():
    weight = np.arange(8, dtype=np.float32).reshape(4, 2)
    made = split_weight(weight, 0, [3, 1])
    np.testing.assert_array_equal(made[3] + made[4], weight[3])
    np.testing.assert_array_equal(made[1] + made[5], weight[1])


def test_weights_beside_outliers_lose_less():
    weight = np.random.default_rng(0).normal(0, 1, (32, 8)).astype(np.float32)
    weight[5] *= 30
    zeros = ",".join("0" * 256)
    model = model_from(f"(float[1,32] x) => (float[1,8] y) <float[32,8] w = {{{zeros}}}> {{y = MatMul(x, w)}}")
    (node,) = model.graph
    node.inputs[1].const_value = ir.tensor(weight)
    split = split_weight(weight, 0, outlier_channels([node], 3))
    before, after = noise(weight), noise(split)
    assert after < before / 5, "three copies of the outlier make steps a quarter as wide"


def noise(weight):
    """Return the mean squared error of weights that are held in 8 bits, a scale for each column."""
    scale = np.abs(weight).max(axis=0) / 127
    return float(np.mean((np.rint(weight / scale) * scale - weight) ** 2))


def test_the_step_splits_alike_what_reads_one_tensor():
    work = Work(model_from(LAYERS), integer_chip(), "a8w8")
    (rewrite,) = SplitOutlierChannels(share=0.5).rewrites(work)
    assert rewrite.options == {"channels": {"y": [1, 1], "z": [1, 1]}}
    assert rewrite.pass_name in REWRITES


def test_it_runs_on_request():
    assert "split-outlier-channels" not in standard_steps(integer_chip().scheme("a8w8"))
