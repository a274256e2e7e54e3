import numpy as np
import pytest

from npuopt.passes.move.move_slices import MoveSlices
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

CONSTANTS = """<int64 first = {0}, int64[1] last = {-1}, int64[1] end = {9223372036854775807}, int64[1] zero = {0},
    int64[1] one = {1}, int64[1] two = {2}, float[4] c = {1, 2, 3, 4}>"""
SIGNATURE = f"""(float[2, 3, 4] x, float[4, 4] w, float[2, 4, 4] b, float[3, 4] z, float[4, 2, 3, 3] k,
    float[2, 2, 5, 5] i) => (float[A, B, C] y) {CONSTANTS}"""


def rewritten(before, after, outputs, moved=None):
    """`moved` is the axis that a Slice is along once it is ahead of the op, where that is another one."""
    signature = SIGNATURE.replace("A, B, C", outputs)
    expected = (
        signature.replace("float[4] c", f"int64[1] moved = {{{moved}}}, float[4] c") if moved is not None else signature
    )
    return assert_rewrites(MoveSlices(), f"{signature} {{{before}}}", f"{expected} {{{after}}}")


@pytest.mark.parametrize(
    ("before", "after", "outputs", "moved"),
    [
        (
            "a = MatMul(x, w) y = Slice(a, last, end, one)",
            "s = Slice(x, last, end, one) y = MatMul(s, w)",
            "2, 1, 4",
            None,
        ),
        (
            "a = MatMul(x, w) y = Slice(a, one, end, two)",
            "s = Slice(w, one, end, moved) y = MatMul(x, s)",
            "2, 3, 3",
            1,
        ),
        (
            "a = MatMul(x, b) y = Slice(a, one, end, zero)",
            "s = Slice(x, one, end, zero) t = Slice(b, one, end, zero) y = MatMul(s, t)",
            "1, 3, 4",
            None,
        ),
        (
            "a = MatMul(z, b) y = Slice(a, one, end, one)",
            "s = Slice(z, one, end, moved) y = MatMul(s, b)",
            "2, 2, 4",
            0,
        ),
        (
            "a = RMSNormalization(x, c) y = Slice(a, last, end, one)",
            "s = Slice(x, last, end, one) y = RMSNormalization(s, c)",
            "2, 1, 4",
            None,
        ),
        (
            "a = Softmax(x) y = Slice(a, last, end, one)",
            "s = Slice(x, last, end, one) y = Softmax(s)",
            "2, 1, 4",
            None,
        ),
        (
            "a = Transpose<perm = [1, 2, 0]>(x) y = Slice(a, last, end, one)",
            "s = Slice(x, last, end, moved) y = Transpose<perm = [1, 2, 0]>(s)",
            "3, 1, 2",
            2,
        ),
        (
            "a = Mul(x, c) y = Slice(a, one, end, one)",
            "s = Slice(x, one, end, one) y = Mul(s, c)",
            "2, 2, 4",
            None,
        ),
        (
            "a = Gemm<transA = 1>(w, w, c) y = Slice(a, one, end, zero)",
            "s = Slice(w, one, end, moved) y = Gemm<transA = 1>(s, w, c)",
            "3, 4",
            1,
        ),
        (
            "a = Conv(i, k) y = Slice(a, one, end, one)",
            "s = Slice(k, one, end, moved) y = Conv(i, s)",
            "2, 3, 3, 3",
            0,
        ),
    ],
)
def test_the_op_computes_what_is_kept_and_no_more(before, after, outputs, moved):
    rewritten(before, after, outputs, moved)


def test_one_token_is_picked_ahead_of_what_only_it_needs():
    report = assert_rewrites(
        MoveSlices(),
        f"{SIGNATURE.replace('A, B, C', '2, 4')} {{"
        "q = Neg(x) n = RMSNormalization(q, c) a = MatMul(n, w) y = Gather<axis = 1>(a, first)}",
        None,
    )
    assert [entry.text for entry in report.changed] == [
        "moved ahead of MatMul",
        "moved ahead of RMSNormalization",
        "moved ahead of Neg",
    ]


def test_a_chain_is_passed_up_to_where_it_branches():
    """As at the end of a language model: the residual sum has two inputs that would need a Slice."""
    rewritten(
        "q = Neg(x) r = Add(x, q) n = RMSNormalization(r, c) l = MatMul(n, w) d = Mul(l, c)"
        " y = Slice(d, last, end, one)",
        "q = Neg(x) r = Add(x, q) s = Slice(r, last, end, one) n = RMSNormalization(s, c) l = MatMul(n, w)"
        " y = Mul(l, c)",
        "2, 1, 4",
    )


@pytest.mark.parametrize(
    ("formula", "because"),
    [
        ("a = MatMul(x, w) y = Slice(a, zero, end, one)", None),
        ("a = Reshape(x, shape) y = Slice(a, one, end, one)", None),
        ("y = Slice(x, one, end, one)", None),
        ("a = MatMul(x, w) y = Slice(a, start, end, one)", "its bounds or the shape"),
        ("a = Softmax(x) y = Slice(a, one, end, two)", "Softmax mixes the axis that it slices"),
        ("a = RMSNormalization(x, c) y = Slice(a, one, end, two)", "RMSNormalization mixes the axis"),
        ("q = Neg(x) r = Abs(x) a = Add(q, r) y = Slice(a, one, end, one)", "would need a Slice of several inputs"),
        ("a = Conv(i, k) y = Slice(a, one, end, two)", "Conv mixes the places"),
    ],
)
def test_what_gains_nothing_or_cannot_be_stays(formula, because):
    signature = SIGNATURE.replace("float[4, 4] w", "float[4, 4] w, int64[1] start, int64[3] shape")
    if "Conv" in formula:
        signature = signature.replace("A, B, C", "A, B, C, D")
    assert_leaves(MoveSlices(), f"{signature} {{{formula}}}", because=because)


def test_a_result_that_is_read_elsewhere_stays():
    text = f"{SIGNATURE.replace('C] y', 'C] y, float[2, 3, 4] a')} {{a = MatMul(x, w) y = Slice(a, last, end, one)}}"
    assert_leaves(MoveSlices(), text, because="a is read elsewhere too")


def test_leaves_slices_that_keep_nothing():
    """Found by the fuzzer: the axis of size one counted as broadcast and stayed."""
    text = """(float[1, 3] x) => (float[0, 3] y) <int64[1] start = {1}, int64[1] end = {9}, int64[1] axis = {0}> {
        n = Neg(x) y = Slice(n, start, end, axis)
    }"""
    assert_leaves(MoveSlices(), text, because="keeps nothing")


def test_whatever_is_sliced_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        value = around.op("Neg", around.input(2, 3, 4))
        for _ in range(around.choose(1, 2, 3)):
            random = np.random.default_rng(0)
            match around.choose("MatMul", "MatMul", "Mul", "Softmax", "Relu"):
                case "MatMul":
                    shape = around.choose((4, 4), (2, 4, 4), (1, 4, 4))
                    value = around.op("MatMul", value, around.constant(random.random(shape).astype("f")))
                case "Mul":
                    shape = around.choose((4,), (3, 1), (2, 1, 4), (), (1, 3, 4))
                    value = around.op("Mul", around.constant(random.random(shape).astype("f")), value)
                case "Softmax":
                    value = around.op("Softmax", value, axis=around.choose(0, 1, 2))
                case other:
                    value = around.op(other, value)
        axis = around.choose(0, 1, 2, -1)
        start, end, step = around.choose((0, 1, 1), (-1, 2**40, 1), (1, 9, 1), (-1, -9, -1), (0, 9, 2))
        bounds = [around.constant(np.array([number]), varies=False) for number in (start, end, axis, step)]
        if around.choose(True, False):
            around.op("Slice", value, *bounds)
        else:
            index = around.constant(np.array(around.choose(0, -1, 1)))
            around.op("Gather", value, index, axis=axis)

    check_surroundings(MoveSlices(), build, examples=80, least_hits=0.2)
