import pytest

from npuopt.graph import nodes, rank
from npuopt.passes.lower.lower_matmul_rank import LowerMatmulRank
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_batch_axes_become_one():
    signature = "(float[2, 3, 2, 4, 5] x, float[2, 3, 2, 5, 6] w) => (float[2, 3, 2, 4, 6] y)"
    assert_rewrites(
        LowerMatmulRank(),
        f"{signature} {{y = MatMul(x, w)}}",
        f"""{signature} <int64[3] a = {{12, 4, 5}}, int64[3] b = {{12, 5, 6}}, int64[5] c = {{2, 3, 2, 4, 6}}> {{
            p = Reshape(x, a) q = Reshape(w, b) m = MatMul(p, q) y = Reshape(m, c)
        }}""",
    )


@pytest.mark.parametrize(
    ("left", "right", "ops"),
    [
        ("2, 3, 2, 4, 5", "5, 6", "Reshape, Reshape, MatMul, Reshape"),
        ("2, 3, 2, 4, 5", "2, 1, 1, 5, 6", "Reshape, Reshape, MatMul, Reshape"),
        ("3, 2, 4, 5", "2, 3, 2, 5, 6", "Reshape, Reshape, MatMul, Reshape"),
        ("2, 1, 2, 1, 4, 5", "2, 3, 1, 2, 5, 6", "Expand, Reshape, Expand, Reshape, MatMul, Reshape"),
        ("1, 1, 1, 4, 5", "2, 3, 1, 5, 6", "Reshape, Reshape, MatMul, Reshape"),
    ],
)
def test_what_is_repeated_stays_repeated(left, right, ops):
    model = model_from(
        f"(float[{left}] x, float[{right}] w) => (float[A, B, C, M, N] y) {{y = MatMul(x, w)}}".replace(
            "[A, B, C, M, N]", f"[{', '.join('ABCDEF'[: max(left.count(','), right.count(',')) + 1])}]"
        )
    )
    report = assert_rewrites(LowerMatmulRank(), model, None)
    assert report.changed[0].text == f"became {ops}"
    assert all((rank(node.inputs[0]) or 0) <= 4 for node in nodes(model, "MatMul"))


def test_leaves_matrices_and_axes_that_cannot_be_joined():
    text = "(float[A, B, C, D] x, float[E, F, G, H] w) => (float[I, J, K, L] y) {y = MatMul(x, w)}"
    assert_leaves(LowerMatmulRank(), text, because="not static")
    crossed = "(float[1, 3, 4, 5] x, float[2, 1, 5, 6] w) => (float[2, 3, 4, 6] y) {y = MatMul(x, w)}"
    assert_leaves(LowerMatmulRank(), crossed, because=None)
    assert_leaves(
        LowerMatmulRank(), "(float[5] x, float[2, 2, 5, 6] w) => (float[2, 2, 6] y) {y = MatMul(x, w)}", because=None
    )


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        batches = around.choose(((2, 3, 2), (2, 3, 2)), ((2, 3, 2), ()), ((1, 3, 2), (2, 3, 2)), ((2, 1, 2), (1, 3, 1)))
        x, w = around.input(*batches[0], 2, 3), around.input(*batches[1], 3, 4)
        around.op("MatMul", around.op("Neg", x), w)

    check_surroundings(LowerMatmulRank(), build, least_hits=0.9)
