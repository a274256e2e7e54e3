import numpy as np
import pytest

from npuopt.passes.lower.lower_embedding_normalization import LowerEmbeddingNormalization
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
NUMBERS = ", ".join(str(number * 7 % 11 / 4) for number in range(16))
TABLES = f"""float[4, 4] words = {{{NUMBERS}}}, float[4, 4] positions = {{{NUMBERS}}}, float[4, 4] rows = {{{NUMBERS}}},
    float[4] g = {{1, 2, 3, 4}}, float[4] b = {{0, 1, 2, -1}}"""
SIGNATURE = f"{HEADER} (int32[2, 3] i) => (float[2, 3, 4] y) <{TABLES}"
NODE = "com.microsoft.EmbedLayerNormalization<epsilon = 0.01>"
RANGES = {"i": (0, 4), "s": (0, 4), "p": (0, 4)}


def test_words_and_positions():
    assert_rewrites(
        LowerEmbeddingNormalization(),
        f"{SIGNATURE}> {{y, m = {NODE}(i, , words, positions, , g, b)}}",
        f"""{SIGNATURE}, int64[1, 3] steps = {{0, 1, 2}}> {{
            w = Gather<axis = 0>(words, i) p = Gather<axis = 0>(positions, steps) s = Add(w, p)
            y = LayerNormalization<axis = -1, epsilon = 0.01>(s, g, b)
        }}""",
        ranges=RANGES,
        tolerance=1e-5,
    )


def test_segments_given_positions_and_a_sum_that_is_read():
    text = SIGNATURE.replace("i)", "i, int32[2, 3] s, int32[1, 3] p)").replace("4] y)", "4] y, float[2, 3, 4] t)")
    text = f"{text}> {{y, m, t = {NODE}(i, s, words, positions, rows, g, b, , p)}}"
    assert_rewrites(LowerEmbeddingNormalization(), text, None, ranges=RANGES, tolerance=1e-5)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (f"{SIGNATURE}> {{y, m = {NODE}(i, , words, positions, , g, b)}}".replace("[2, 3]", "[2, S]"), "not static"),
        (f"{SIGNATURE}> {{y, m = {NODE}(i, , words, positions, , g, b)}}".replace("4] y)", "4] y, int32[2] m)"),
         "lengths of sequences are read"),
    ],
)  # fmt: skip
def test_leaves_other_forms(text, because):
    assert_leaves(LowerEmbeddingNormalization(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        ids = around.constant(np.array([[0, 3, 1], [2, 2, 0]], np.int32))
        words, positions = (around.constant(generator.normal(size=(4, 4)).astype("f")) for _ in "wp")
        gamma, beta = (around.constant(generator.normal(size=4).astype("f")) for _ in "gb")
        made = around.ops(
            "EmbedLayerNormalization", ids, "", words, positions, "", gamma, beta, outputs=2, domain="com.microsoft",
            company=False, epsilon=1e-3,
        )  # fmt: skip
        around.unread.append(made[1])
        around.op("Relu", around.declare(made[0], 2, 3, 4))

    check_surroundings(LowerEmbeddingNormalization(), build, least_hits=0.9, tolerance=1e-4)
