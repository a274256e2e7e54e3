import numpy as np
import pytest

from npuopt.passes.fuse.fuse_rotary_embedding import FuseRotaryEmbedding
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """int64[1] zero = {0}, int64[1] one = {1}, int64[1] half = {2}, int64[1] end = {4}, int64[1] last = {-1},
    int64[1] two = {2}, int64[4] whole = {0, 0, 0, 4}>"""
SIGNATURE = f"(float[N, 3, S, 4] x, float[N, S, 2] f) => (float[N, 3, S, 4] y) <{CONSTANTS}"
ANGLES = "e = Concat<axis = -1>(f, f) c = Cos(e) s = Sin(e) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one)"
HALVES = "a = Slice(x, zero, half, last) b = Slice(x, half, end, last)"
TURNED = "n = Neg(b) r = Concat<axis = -1>(n, a)"
SUM = "p = Mul(x, cos) q = Mul(r, sin) y = Add(p, q)"
BEFORE = f"{SIGNATURE} {{{ANGLES} {HALVES} {TURNED} {SUM}}}"
AFTER = f"{SIGNATURE} {{c = Cos(f) s = Sin(f) y = RotaryEmbedding(x, c, s)}}"


@pytest.mark.parametrize(
    "formula",
    [
        f"{ANGLES} {HALVES} {TURNED} {SUM}",
        f"{ANGLES} {HALVES} {TURNED} p = Mul(cos, x) q = Mul(sin, r) y = Add(q, p)",
        f"{ANGLES} a, b = Split<axis = -1, num_outputs = 2>(x) {TURNED} {SUM}",
        f"""c = Cos(f) s = Sin(f) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one) {HALVES}
            ac = Mul(a, cos) bs = Mul(b, sin) bc = Mul(cos, b) as = Mul(a, sin)
            real = Sub(ac, bs) imaginary = Add(bc, as) y = Concat<axis = 3>(real, imaginary)""",
    ],
)
def test_halves_in_any_spelling(formula):
    assert_rewrites(FuseRotaryEmbedding(), f"{SIGNATURE} {{{formula}}}", AFTER)


def test_angles_with_an_axis_for_heads_lose_it():
    angles = "e = Concat<axis = -1>(f, f) u = Unsqueeze(e, one) cos = Cos(u) sin = Sin(u)"
    signature = f"{SIGNATURE[:-1]}, int64[1] first = {{1}}, int64[1] again = {{1}}>"
    after = f"""{signature} {{u = Unsqueeze(f, one) v = Unsqueeze(f, one) cos = Cos(u) sin = Sin(v)
        c = Squeeze(cos, first) s = Squeeze(sin, again) y = RotaryEmbedding(x, c, s)}}"""
    assert_rewrites(FuseRotaryEmbedding(), f"{SIGNATURE} {{{angles} {HALVES} {TURNED} {SUM}}}", after)


@pytest.mark.parametrize(
    "formula",
    [
        """g = Unsqueeze(f, last) d = Concat<axis = -1>(g, g) e = Reshape(d, pairs) c = Cos(e) s = Sin(e)
            cos = Unsqueeze(c, one) sin = Unsqueeze(s, one) n = Neg(b) nu = Unsqueeze(n, last) au = Unsqueeze(a, last)
            t = Concat<axis = -1>(nu, au) r = Reshape(t, whole) p = Mul(x, cos) q = Mul(r, sin) y = Add(p, q)""",
        """c = Cos(f) s = Sin(f) cos = Unsqueeze(c, one) sin = Unsqueeze(s, one)
            ac = Mul(a, cos) bs = Mul(b, sin) bc = Mul(cos, b) as = Mul(a, sin) real = Sub(ac, bs)
            imaginary = Add(as, bc) ru = Unsqueeze(real, last) iu = Unsqueeze(imaginary, last)
            t = Concat<axis = -1>(ru, iu) y = Reshape(t, whole)""",
    ],
)
def test_neighbours(formula):
    signature = f"{SIGNATURE[:-1]}, int64[3] pairs = {{0, 0, 4}}, int64[1] four = {{4}}>"
    places = "a = Slice(x, zero, end, four_, two) b = Slice(x, one, end, four_, two)".replace("four_", "last")
    after = AFTER.replace("RotaryEmbedding(", "RotaryEmbedding<interleaved = 1>(").replace(SIGNATURE, signature)
    assert_rewrites(FuseRotaryEmbedding(), f"{signature} {{{places} {formula}}}", after)


TABLE = (
    "float[6, 4] table = {"
    + ", ".join(f"{(row * 2 + column % 2) / 12}" for row in range(6) for column in range(4))
    + "}"
)


def test_gathered_rows_of_a_table_for_every_batch():
    signature = f"(float[N, 3, S, 4] x, int64[S] at) => (float[N, 3, S, 4] y) <{TABLE}, {CONSTANTS}"
    before = f"{signature} {{cos = Gather(table, at) sin = Gather(table, at) {HALVES} {TURNED} {SUM}}}"
    report = assert_rewrites(FuseRotaryEmbedding(), before, None, ranges={"at": (0, 6)})
    assert report.changed[0].text == "5 nodes became RotaryEmbedding"


def test_heads_behind_positions_are_turned_round():
    signature = SIGNATURE.replace("N, 3, S, 4", "N, S, 3, 4")
    before = f"{signature} {{{ANGLES} {HALVES} {TURNED} {SUM}}}".replace("(c, one)", "(c, two)").replace(
        "(s, one)", "(s, two)"
    )
    after = f"""{signature} {{c = Cos(f) s = Sin(f) t = Transpose<perm = [0, 2, 1, 3]>(x) r = RotaryEmbedding(t, c, s)
        y = Transpose<perm = [0, 2, 1, 3]>(r)}}"""
    assert_rewrites(FuseRotaryEmbedding(), before, after, dims={"N": 2, "S": 5})


def test_a_rotated_first_part():
    signature = SIGNATURE.replace("S, 4] x", "S, 6] x").replace("S, 4] y", "S, 6] y")
    front = "h = Slice(x, zero, end, last) t = RotaryEmbedding(h, c, s)"
    before = f"{signature} {{c = Cos(f) s = Sin(f) {front} k = Slice(x, end, far, last) y = Concat<axis = -1>(t, k)}}"
    signature, before = (
        text.replace("<int64[1] zero", "<int64[1] far = {99}, int64[1] zero") for text in (signature, before)
    )
    after = f"{signature} {{c = Cos(f) s = Sin(f) y = RotaryEmbedding<rotary_embedding_dim = 4>(x, c, s)}}"
    assert_rewrites(FuseRotaryEmbedding(), before, after)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (BEFORE.replace("S, 4] y)", "S, 4] y, float[N, 3, S, 4] r)"), "'r' is read elsewhere or is a graph output"),
        (BEFORE.replace("Concat<axis = -1>(f, f)", "Concat<axis = -1>(f, g)").replace("2] f", "2] f, float[N, S, 2] g"),
         "not seen to be the same"),
        (BEFORE.replace("4] x", "4] x, float[N, 3, S, 4] cos").replace("cos = Unsqueeze(c, one)", ""),
         "differ between heads"),
        (BEFORE.replace("float[", "double["), "computes in DOUBLE"),
        (BEFORE.replace("half = {2}", "half = {1}"), None),
        (BEFORE.replace("Concat<axis = -1>(n, a)", "Concat<axis = -1>(a, n)"), None),
        (BEFORE.replace("Concat<axis = -1>(n, a)", "Concat<axis = -1>(b, a)").replace("n = Neg(b) ", ""), None),
        (BEFORE.replace("Mul(x, cos)", "Mul(z, cos)").replace("S, 4] x", "S, 4] x, float[N, 3, S, 4] z"), None),
    ],
)  # fmt: skip
def test_leaves_other_rotations(text, because):
    assert_leaves(FuseRotaryEmbedding(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        batch, heads, length, size = around.choose(1, 2), around.choose(1, 2), around.choose(1, 3), 4
        lonely = around.choose("halves", "turned", "products", "nothing", "nothing")
        heads_last = around.choose(False, False, True)
        shape = (batch, length, heads, size) if heads_last else (batch, heads, length, size)
        x = around.op("Neg", around.input(*shape))
        angles = around.input(around.choose(1, batch), length, size // 2)
        angles = around.op("Concat", angles, around.choose(angles, around.op("Neg", angles)), axis=-1, company=False)
        place = 2 if heads_last and 1 not in (heads, length) else around.choose(2 if heads_last else 1, 1)
        axis = around.constant(np.array([place]), varies=False)
        cosine, sine = (
            around.op("Unsqueeze", around.op(name, angles, company=False), axis, company=False)
            for name in ("Cos", "Sin")
        )
        places = [around.constant(np.array([place]), varies=False) for place in (0, 2, around.choose(4, 99), -1)]
        a = around.op("Slice", x, places[0], places[1], places[3], company=lonely == "halves")
        b = around.op("Slice", x, places[1], places[2], places[3], company=lonely == "halves")
        negative = around.op("Neg", b, company=False)
        parts = around.choose((negative, a), (negative, a), (a, negative))
        turned = around.op("Concat", *parts, axis=around.choose(-1, 3), company=lonely == "turned")
        left = around.op("Mul", x, cosine, company=lonely == "products")
        around.op("Add", left, around.op("Mul", turned, sine, company=lonely == "products"))

    check_surroundings(FuseRotaryEmbedding(), build, examples=60, least_hits=0.15)
