import numpy as np
import pytest

from npuopt.passes.lower.lower_gru import LowerGru
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """float[1, 3, 1] w = {1, 2, 3}, float[1, 3, 1] r = {5, 6, 7}, float[1, 6] b = {1, 1, 1, 0, 1, 2}"""
SIGNATURE = f"(float[1, 1, 1] x, float[1, 1, 1] h) => (float[1, 1, 1, 1] y) <{CONSTANTS}"
CELL = f"{SIGNATURE}> {{y = GRU<hidden_size = 1>(x, w, r, b, , h)}}"


def test_a_step_is_a_cell():
    after = f"""{SIGNATURE}, float[1, 3] v = {{1, 2, 3}}, float[3] a = {{1, 2, 3}}, int64[3] s = {{1, 1, -1}},
        int64[2] n = {{1, 1}}, float[1, 2] q = {{5, 6}}, float[1, 1] m = {{7}}, int64[2] f = {{1, -1}},
        int64[2] two = {{2, 1}}, int64[2] one = {{1, 1}}, float unit = {{1}}, int64[4] every = {{1, 1, 1, -1}}> {{
        p = MatMul(x, v) o = Add(p, a) i = Reshape(o, s) h2 = Reshape(h, n) i2 = Reshape(i, f)
        zr, fresh = Split<axis = -1>(i2, two) g = MatMul(h2, q) sum = Add(zr, g) act = Sigmoid(sum)
        z, reset = Split<axis = -1>(act, one) rh = Mul(reset, h2) mem = MatMul(rh, m) pre = Add(fresh, mem)
        new = Tanh(pre) rest = Sub(unit, z) taken = Mul(rest, new) kept = Mul(z, h2) hidden = Add(taken, kept)
        y = Reshape(hidden, every)
    }}"""
    assert_rewrites(LowerGru(), CELL, after)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("later", [0, 1])
def test_sequences_in_each_direction_and_form(direction, later):
    count = 2 if direction == "bidirectional" else 1
    weights = ", ".join(str((i * 7 % 11 - 5) / 8) for i in range(count * 6 * 2))
    biases = ", ".join(str((i * 5 % 7 - 3) / 4) for i in range(count * 12))
    text = f"""(float[3, 4, 2] x, float[{count}, 4, 2] h) => (float[3, {count}, 4, 2] y, float[{count}, 4, 2] z)
        <float[{count}, 6, 2] w = {{{weights}}}, float[{count}, 6, 2] r = {{{weights}}},
         float[{count}, 12] b = {{{biases}}}> {{
        y, z = GRU<hidden_size = 2, direction = "{direction}", linear_before_reset = {later}>(x, w, r, b, , h)
    }}"""
    assert_rewrites(LowerGru(), text, None)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ("= 1>", "= 1, clip = 2.0>", "attribute clip"),
        ("[1, 1, 1] x", "[N, 1, 1] x", "not static"),
        ("b, , h", "b, n, h", "lengths of sequences"),
        (", float[1, 6] b = {1, 1, 1, 0, 1, 2}", "", "not constant"),
    ],
)
def test_leaves_other_forms(old, new, because):
    text = CELL.replace(old, new)
    text = text.replace("(float", "(int32[1] n, float", 1) if "n, h" in text else text
    text = text.replace("(float", "(float[1, 6] b, float", 1) if "b =" not in text else text
    text = text.replace("[1, 1, 1, 1] y", "[N, 1, 1, 1] y") if "[N, 1, 1] x" in text else text
    assert_leaves(LowerGru(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        steps, batch, width, hidden = around.choose(1, 3), 2, 4, 3
        x = around.op("Neg", around.input(steps, batch, width))
        w, r, b = (
            around.constant(generator.normal(size=shape).astype("f"), varies=around.choose(True, False, False))
            for shape in ((1, 3 * hidden, width), (1, 3 * hidden, hidden), (1, 6 * hidden))
        )
        state, facts = around.op("Neg", around.input(1, batch, hidden)), {"hidden_size": hidden}
        facts["linear_before_reset"] = around.choose(0, 1)
        around.ops("GRU", x, w, r, b, "", state, outputs=2, direction=around.choose("forward", "reverse"), **facts)

    check_surroundings(LowerGru(), build, examples=15)
