import numpy as np

from npuopt.passes.lower.lower_conv_padding import LowerConvPadding
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = "(float[1, 1, 5, 5] x, float[1, 1, 2, 3] w) => (float[1, 1, 7, 6] y)"
BEFORE = f"{SIGNATURE} {{y = Conv<pads = [1, 1, 2, 2]>(x, w)}}"


def test_what_is_uneven_becomes_a_pad():
    assert_rewrites(
        LowerConvPadding(),
        BEFORE,
        f"""{SIGNATURE} <int64[8] more = {{0, 0, 0, 0, 0, 0, 1, 1}}, float zero = {{0}}> {{
            p = Pad(x, more, zero) y = Conv<kernel_shape = [2, 3], pads = [1, 1, 1, 1]>(p, w)
        }}""",
    )


def test_all_of_it_where_that_is_asked_for():
    after = f"""{SIGNATURE} <int64[8] more = {{0, 0, 1, 1, 0, 0, 2, 2}}, float zero = {{0}}> {{
        p = Pad(x, more, zero) y = Conv<kernel_shape = [2, 3]>(p, w)
    }}"""
    assert_rewrites(LowerConvPadding(all=True), BEFORE, after)
    rule = "{schemes: [fp16], when: [{attribute: pads, equal: 0}]}"
    pad = "{schemes: [fp16], when: [{constant: input 1}, {constant: input 2}]}"
    model = model_from(BEFORE.replace("[1, 1, 2, 2]", "[1, 1, 1, 1]").replace("7, 6", "6, 5"))
    assert legalize(model, target_with(f"{{Conv: {rule}, Pad: {pad}}}"), [LowerConvPadding()]).refused_after == 0


def test_automatic_padding_becomes_numbers():
    text = "(float[1, 1, 5, 6] x, float[1, 1, 3, 3] w) => (float[1, 1, 5, 6] y) {y = Conv<auto_pad = HOW>(x, w)}"
    for how in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        changed = text.replace("HOW", f'"{how}"').replace("5, 6] y", "H, W] y")
        assert_rewrites(LowerConvPadding(all=how != "VALID"), changed, None) if how != "VALID" else assert_leaves(
            LowerConvPadding(), changed, because=None
        )


def test_a_mean_that_counts_padding():
    text = """(float[1, 2, 5, 5] x) => (float[1, 2, H, W] y) {
        y = AveragePool<kernel_shape = [3, 3], pads = [1, 0, 2, 1], count_include_pad = 1>(x)
    }"""
    assert_rewrites(LowerConvPadding(), text, None)
    assert_leaves(LowerConvPadding(), text.replace("_pad = 1", "_pad = 0"), because="left out of its means")
    ceiling = text.replace("count_", "ceil_mode = 1, count_")
    assert_leaves(LowerConvPadding(), ceiling, because="ceil_mode is set")


def test_leaves_even_padding_and_dynamic_shapes():
    assert_leaves(LowerConvPadding(), BEFORE.replace("1, 1, 2, 2", "1, 1, 1, 1").replace("7, 6", "6, 5"), because=None)
    assert_leaves(LowerConvPadding(), BEFORE.replace("1, 1, 5, 5", "N, 1, 5, 5"), because="not static")


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(1, 2, 6))
        weight = np.random.default_rng(0).normal(size=(2, 2, 3)).astype("f")
        how = around.choose({"pads": [0, 2]}, {"pads": [3, 1]}, {"auto_pad": "SAME_UPPER"}, {"pads": [1, 1]})
        around.op("Conv", x, around.constant(weight), strides=[around.choose(1, 2)], **how)

    check_surroundings(LowerConvPadding(all=True), build, least_hits=0.8)
