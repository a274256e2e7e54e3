import numpy as np
import pytest

from npuopt.passes.lower.lower_fused_rotary_embedding import LowerFusedRotaryEmbedding
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]> g'
ANGLES = ", ".join(str(number / 7) for number in range(16))
CACHES = f"float[8, 2] c = {{{ANGLES}}}, float[8, 2] s = {{{ANGLES}}}"
RANGES = {"i": (0, 4)}


def signature(shape: str, positions: str) -> str:
    return f"{HEADER} (float[{shape}] x, int64[{positions}] i) => (float[{shape}] y) <{CACHES}"


def test_heads_are_turned():
    assert_rewrites(
        LowerFusedRotaryEmbedding(),
        f"{signature('2, 3, 4, 4', '2, 4')}> {{y = com.microsoft.RotaryEmbedding(x, i, c, s)}}",
        f"{signature('2, 3, 4, 4', '2, 4')}> {{y = RotaryEmbedding<interleaved = 0>(x, c, s, i)}}",
        ranges=RANGES,
    )


def test_the_first_position_is_counted_on_from():
    assert_rewrites(
        LowerFusedRotaryEmbedding(),
        f"{signature('2, 3, 12', '1')}> {{y = com.microsoft.RotaryEmbedding(x, i, c, s)}}",
        f"""{signature("2, 3, 12", "1")}, int64[1, 3] steps = {{0, 1, 2}}, int64[2] shape = {{2, 3}}> {{
            a = Add(i, steps) p = Expand(a, shape)
            y = RotaryEmbedding<interleaved = 0, num_heads = 3>(x, c, s, p)
        }}""",
        ranges=RANGES,
    )


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        ("2, 3, 12", "interleaved = 1"),
        ("2, 3, 4, 6", "rotary_embedding_dim = 4, num_heads = 3"),
        ("2, 4, 18", "rotary_embedding_dim = 4, num_heads = 3"),
    ],
)
def test_other_forms(shape, attributes):
    length = shape.split(", ")[1 if shape.count(",") == 2 else 2]
    text = f"{signature(shape, f'2, {length}')}> {{y = com.microsoft.RotaryEmbedding<{attributes}>(x, i, c, s)}}"
    assert_rewrites(LowerFusedRotaryEmbedding(), text, None, ranges=RANGES)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ("RotaryEmbedding(", "RotaryEmbedding<scale = 2.0>(", "it scales its input"),
        ("RotaryEmbedding(", "RotaryEmbedding<is_packed_batching = 1>(", "are packed"),
        ("2, 3, 12] x", "2, N, 12] x", "is not known"),
    ],
)
def test_leaves_other_forms(old, new, because):
    text = f"{signature('2, 3, 12', '2, 3')}> {{y = com.microsoft.RotaryEmbedding(x, i, c, s)}}"
    assert_leaves(LowerFusedRotaryEmbedding(), text.replace(old, new), because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Neg", around.input(2, 3, 2, 4))
        positions = around.constant(np.array(around.choose([[0, 1], [5, 2]], [3])))
        angles = np.arange(16, dtype="f").reshape(8, 2) / 5
        caches = [around.constant(turn(angles)) for turn in (np.cos, np.sin)]
        interleaved = around.choose(0, 1)
        made = around.op(
            "RotaryEmbedding", x, positions, *caches, domain="com.microsoft", company=False, interleaved=interleaved
        )
        around.op("Abs", around.declare(made, 2, 3, 2, 4))

    check_surroundings(LowerFusedRotaryEmbedding(), build, least_hits=0.9)
