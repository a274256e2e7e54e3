import numpy as np
import pytest

from npuopt.passes.lower.lower_rnn import LowerRnn
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[2, 1, 1] x) => (float[1, 1, 1] h)
    <float[1, 1, 1] w = {2}, float[1, 1, 1] r = {3}, float[1, 2] b = {4, 5}"""
BEFORE = f"{SIGNATURE}> {{, h = RNN<hidden_size = 1>(x, w, r, b)}}"


def test_a_step_is_a_product_and_an_activation():
    after = f"""{SIGNATURE}, float[1, 1] v = {{2}}, float[1] a = {{9}}, int64[3] s = {{2, 1, -1}},
        float[1, 1] start = {{0}}, float[1, 1] q = {{3}}, int64[1] o = {{0}}, int64[1] one = {{1}},
        int64[1] axis = {{0}},
        int64[2] f = {{1, -1}}, int64[1] one2 = {{1}}, int64[1] two = {{2}}, int64[1] axis2 = {{0}},
        int64[2] f2 = {{1, -1}}, int64[3] end = {{1, 1, -1}}> {{
        p = MatMul(x, v) c = Add(p, a) i = Reshape(c, s)
        t1 = Slice(i, o, one, axis) u1 = Reshape(t1, f) m1 = MatMul(start, q) s1 = Add(u1, m1) h1 = Tanh(s1)
        t2 = Slice(i, one2, two, axis2) u2 = Reshape(t2, f2) m2 = MatMul(h1, q) s2 = Add(u2, m2) h2 = Tanh(s2)
        h = Reshape(h2, end)
    }}"""
    assert_rewrites(LowerRnn(), BEFORE, after)


@pytest.mark.parametrize(
    "attributes", ['direction = "reverse"', 'direction = "bidirectional"', 'activations = ["Relu"]']
)
def test_directions_and_activations(attributes):
    count = 2 if "bi" in attributes else 1
    weights = ", ".join(str((i * 7 % 11 - 5) / 8) for i in range(count * 4))
    text = f"""(float[3, 4, 2] x) => (float[3, {count}, 4, 2] y, float[{count}, 4, 2] z)
        <float[{count}, 2, 2] w = {{{weights}}}, float[{count}, 2, 2] r = {{{weights}}}, int32[4] n = {{3, 3, 3, 3}}> {{
        y, z = RNN<hidden_size = 2, {attributes}>(x, w, r, , n)
    }}"""
    assert_rewrites(LowerRnn(), text, None)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ("= 1>", '= 1, activations = ["Elu"]>', "its activations are Elu"),
        ("= 1>", "= 1, clip = 2.0>", "attribute clip"),
        ("[2, 1, 1] x", "[N, 1, 1] x", "not static"),
        ("[2, 1, 1] x", "[65, 1, 1] x", "longer than 64"),
    ],
)
def test_leaves_other_forms(old, new, because):
    assert_leaves(LowerRnn(), BEFORE.replace(old, new), because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        x = around.op("Neg", around.input(around.choose(1, 3), 2, 4))
        w, r = (around.constant(generator.normal(size=(1, 3, size)).astype("f")) for size in (4, 3))
        around.ops("RNN", x, w, r, outputs=2, hidden_size=3, direction=around.choose("forward", "reverse"))

    check_surroundings(LowerRnn(), build, examples=15)
