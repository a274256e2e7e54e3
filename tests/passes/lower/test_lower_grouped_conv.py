import numpy as np

from npuopt.passes.lower.lower_grouped_conv import LowerGroupedConv
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_each_group_gets_its_channels_and_its_weights():
    signature = "(float[1, 2, 4] x) => (float[1, 2, 4] y) <float[2, 1, 1] w = {2, 3}, float[2] b = {5, 7}"
    assert_rewrites(
        LowerGroupedConv(),
        f"{signature}> {{y = Conv<group = 2>(x, w, b)}}",
        f"""{signature}, float[1, 1, 1] w1 = {{2}}, float[1, 1, 1] w2 = {{3}}, float[1] b1 = {{5}}, float[1] b2 = {{7}},
            int64[2] s = {{1, 1}}>
        {{
            p, q = Split<axis = 1>(x, s) c = Conv(p, w1, b1) d = Conv(q, w2, b2) y = Concat<axis = 1>(c, d)
        }}""",
    )


def test_weights_given_at_run_time_are_split_in_the_graph():
    text = """(float[1, 4, 4] x, float[4, 3, 2] w, float[6] b) => (float[1, 6, 8] y) {
        y = ConvTranspose<group = 2, strides = [2]>(x, w, b)
    }"""
    report = assert_rewrites(LowerGroupedConv(), text, None)
    assert report.changed[0].text == "became Split, Split, Split, ConvTranspose, ConvTranspose, Concat"


def test_leaves_one_group_many_groups_and_dynamic_channels():
    text = "(float[1, 2, 4] x, float[2, 1, 1] w) => (float[1, 2, 4] y) {y = Conv<group = 2>(x, w)}"
    assert_leaves(
        LowerGroupedConv(), text.replace("group = 2", "group = 1").replace("2, 1, 1", "2, 2, 1"), because=None
    )
    assert_leaves(LowerGroupedConv(most=1), text, because="its 2 groups are more than 1")
    assert_leaves(LowerGroupedConv(), text.replace("float[1, 2, 4] x", "float[N, 2, L] x"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 6, 5))
        groups, generator = around.choose(1, 2, 3, 6), np.random.default_rng(0)
        weight = around.constant(generator.normal(size=(6, 6 // groups, 3)).astype("f"))
        bias = [around.constant(generator.normal(size=6).astype("f"))] if around.choose(True, False) else []
        around.op("Conv", x, weight, *bias, group=groups, pads=around.choose([0, 0], [1, 2]))

    check_surroundings(LowerGroupedConv(), build, least_hits=0.5)
