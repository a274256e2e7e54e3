import numpy as np
import pytest

from npuopt.passes.lower.lower_lstm import LowerLstm
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """float[1, 4, 1] w = {1, 2, 3, 4}, float[1, 4, 1] r = {5, 6, 7, 8},
    float[1, 8] b = {1, 1, 1, 1, 0, 1, 2, 3}"""
SIGNATURE = (
    f"(float[1, 1, 1] x, float[1, 1, 1] h, float[1, 1, 1] c) => (float[1, 1, 1, 1] y, float[1, 1, 1] d) <{CONSTANTS}"
)
CELL = f"{SIGNATURE}> {{y, , d = LSTM<hidden_size = 1>(x, w, r, b, , h, c)}}"


def test_a_step_is_a_cell():
    sizes = "int64[4] sizes = {1, 1, 1, 1}"
    shapes = """int64[3] s = {1, 1, -1}, int64[2] f = {1, -1}, int64[2] n = {1, 1}, int64[2] n2 = {1, 1},
        int64[4] every = {1, 1, 1, -1}, int64[3] end = {1, 1, -1}"""
    weights = "float[1, 4] v = {1, 2, 3, 4}, float[4] a = {1, 2, 3, 4}, float[1, 4] q = {5, 6, 7, 8}"
    after = f"""{SIGNATURE}, {sizes}, {shapes}, {weights}> {{
        p = MatMul(x, v) o = Add(p, a) i = Reshape(o, s) i2 = Reshape(i, f)
        h2 = Reshape(h, n) g = MatMul(h2, q) gates = Add(i2, g)
        enter, leave, keep, fresh = Split<axis = -1>(gates, sizes)
        so = Sigmoid(leave) sf = Sigmoid(keep) c2 = Reshape(c, n2) kept = Mul(sf, c2)
        si = Sigmoid(enter) t = Tanh(fresh) new = Mul(si, t) cell = Add(kept, new) tc = Tanh(cell)
        hidden = Mul(so, tc) y = Reshape(hidden, every) d = Reshape(cell, end)
    }}"""
    assert_rewrites(LowerLstm(), CELL, after)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("steps", [1, 4])
def test_sequences_in_each_direction(direction, steps):
    count = 2 if direction == "bidirectional" else 1
    weights = ", ".join(str((i * 7 % 11 - 5) / 8) for i in range(count * 12 * 3))
    text = f"""(float[{steps}, 2, 3] x)
        => (float[{steps}, {count}, 2, 3] y, float[{count}, 2, 3] h, float[{count}, 2, 3] c)
        <float[{count}, 12, 3] w = {{{weights}}}, float[{count}, 12, 3] r = {{{weights}}}> {{
        y, h, c = LSTM<hidden_size = 3, direction = "{direction}">(x, w, r)
    }}"""
    assert_rewrites(LowerLstm(), text, None)


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_peepholes_look_at_the_cell(direction):
    count = 2 if direction == "bidirectional" else 1
    weights = ", ".join(str((i * 7 % 11 - 5) / 8) for i in range(count * 12 * 3))
    looks = ", ".join(str(i / 4 - 1) for i in range(count * 9))
    text = f"""(float[4, 2, 3] x) => (float[4, {count}, 2, 3] y, float[{count}, 2, 3] h, float[{count}, 2, 3] c)
        <float[{count}, 12, 3] w = {{{weights}}}, float[{count}, 12, 3] r = {{{weights}}},
         float[{count}, 9] p = {{{looks}}}> {{
        y, h, c = LSTM<hidden_size = 3, direction = "{direction}">(x, w, r, , , , , p)
    }}"""
    assert_rewrites(LowerLstm(), text, None)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (CELL.replace("[1, 1, 1] x", "[65, 1, 1] x").replace("[1, 1, 1, 1] y", "[65, 1, 1, 1] y"), "longer than 64"),
        (CELL.replace("[1, 1, 1] x", "[N, 1, 1] x").replace("[1, 1, 1, 1] y", "[N, 1, 1, 1] y"), "not static"),
        (CELL.replace("= 1>", "= 1, clip = 2.0>"), "attribute clip"),
        (CELL.replace("= 1>", "= 1, input_forget = 1>"), "couples its gates"),
        (CELL.replace("[1, 1, 1] c)", "[1, 1, 1] c, int32[1] n)").replace("b, , h", "b, n, h"), "lengths of sequences"),
        (
            CELL.replace("h, c)}", "h, c, p)}").replace("[1, 1, 1] c)", "[1, 1, 1] c, float[1, 3] p)"),
            "peepholes are not constant",
        ),
        (
            CELL.replace("[1, 1, 1] c)", "[1, 1, 1] c, float[1, 4, 1] w)").replace(
                "float[1, 4, 1] w = {1, 2, 3, 4}, ", ""
            ),
            "not constant",
        ),
    ],
)
def test_leaves_other_forms(text, because):
    assert_leaves(LowerLstm(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        generator = np.random.default_rng(0)
        steps, batch, width, hidden = around.choose(1, 3), 2, 4, 3
        x = around.op("Neg", around.input(steps, batch, width))
        w, r, b = (
            around.constant(generator.normal(size=shape).astype("f"), varies=around.choose(True, False, False))
            for shape in ((1, 4 * hidden, width), (1, 4 * hidden, hidden), (1, 8 * hidden))
        )
        states = [around.op("Neg", around.input(1, batch, hidden)) for _ in range(2)]
        direction = around.choose("forward", "reverse")
        peepholes = [around.constant(generator.normal(size=(1, 3 * hidden)).astype("f"), varies=False)]
        states += around.choose([], peepholes)
        around.ops("LSTM", x, w, r, b, "", *states, outputs=3, hidden_size=hidden, direction=direction)

    check_surroundings(LowerLstm(), build)
