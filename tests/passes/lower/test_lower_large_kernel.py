import numpy as np
import pytest

from npuopt.graph import attribute_list, nodes, static_shape
from npuopt.passes.lower.lower_large_kernel import LowerLargeKernel
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_the_halves_see_their_parts_of_the_input():
    signature = "(float[1, 1, 4] x) => (float[1, 1, 3] y) <float[1, 1, 2] w = {2, 3}, float[1] b = {5}"
    assert_rewrites(
        LowerLargeKernel(),
        f"{signature}> {{y = Conv(x, w, b)}}",
        f"""{signature}, float[1, 1, 1] w1 = {{2}}, float[1, 1, 1] w2 = {{3}}, int64[1] o = {{0}}, int64[1] one = {{1}},
            int64[1] axis = {{2}}, int64[1] three = {{3}}, int64[1] four = {{4}}, int64[1] axis2 = {{2}}> {{
            left = Slice(x, o, three, axis) p = Conv<kernel_shape = [1]>(left, w1, b)
            right = Slice(x, one, four, axis2) q = Conv<kernel_shape = [1]>(right, w2) y = Add(p, q)
        }}""",
    )


@pytest.mark.parametrize(
    "attributes",
    ["pads = [2, 3, 1, 0]", "strides = [2, 3]", 'auto_pad = "SAME_UPPER", strides = [2, 1]', "dilations = [2, 1]"],
)
def test_padding_strides_and_dilations(attributes):
    text = f"(float[2, 3, 9, 8] x) => (float[2, 2, H, W] y) <WEIGHTS> {{y = Conv<{attributes}>(x, w)}}"
    numbers = ", ".join(str(number % 7 - 3) for number in range(2 * 3 * 4 * 3))
    text = text.replace("WEIGHTS", f"float[2, 3, 4, 3] w = {{{numbers}}}")
    assert_rewrites(LowerLargeKernel(), text, None, tolerance=2e-5)


def test_a_half_that_sees_only_padding_is_left_out():
    text = """(float[1, 1, 1] x) => (float[1, 1, 1] y) <float[1, 1, 5] w = {1, 2, 3, 4, 5}> {
        y = Conv<pads = [2, 2]>(x, w)
    }"""
    report = assert_rewrites(LowerLargeKernel(), text, None)
    assert not any("Add" in entry.text for entry in report.changed[-1:])


def test_a_kernel_is_halved_until_the_target_takes_it():
    conv = "{schemes: [fp16], when: [{attribute: kernel_shape, max: 3}]}"
    pick = "{schemes: [fp16], when: [{constant: input 1}, {constant: input 2}, {constant: input 3}]}"
    target = target_with(f"{{Add: {{schemes: [fp16]}}, Slice: {pick}, Conv: {conv}}}")
    numbers = ", ".join(["1"] * 121)
    model = model_from(
        f"""(float[1, 1, 12, 13] x) => (float[1, 1, 2, 3] y) <float[1, 1, 11, 11] w = {{{numbers}}}> {{
            y = Conv<kernel_shape = [11, 11]>(x, w)
        }}"""
    )
    assert legalize(model, target, [LowerLargeKernel()]).refused_after == 0
    kernels = [attribute_list(node, "kernel_shape") for node in nodes(model, "Conv")]
    assert max(map(max, kernels)) == 3  # both axes, of which a reason names one
    assert len(kernels) == 4 * 4
    assert static_shape(model.graph.outputs[0]) == (1, 1, 2, 3)


def test_leaves_single_taps_and_weights_of_run_time():
    text = "(float[1, 1, 4] x, float[1, 1, 2] w) => (float[1, 1, 3] y) {y = Conv(x, w)}"
    assert_leaves(LowerLargeKernel(), text, because="its weights are not constant")
    assert_leaves(LowerLargeKernel(), text.replace("1, 1, 2", "1, 1, 1").replace("1, 1, 3", "1, 1, 4"), because=None)
    assert_leaves(LowerLargeKernel(), text.replace("1, 1, 4", "N, 1, 4"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 7, 6))
        weight = np.random.default_rng(0).normal(size=(4, 1, *around.choose((5, 2), (3, 4)))).astype("f")
        pads, steps = around.choose([0, 0, 0, 0], [2, 1, 0, 3]), around.choose([1, 1], [2, 3])
        around.op("Conv", x, around.constant(weight), group=2, pads=pads, strides=steps)

    check_surroundings(LowerLargeKernel(), build, examples=15, tolerance=1e-4)
