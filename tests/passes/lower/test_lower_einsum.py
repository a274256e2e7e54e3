import numpy as np
import pytest

from npuopt.passes.lower.lower_einsum import LowerEinsum
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_product_of_queries_and_keys():
    signature = "(float[2, 3, 4, 5] q, float[2, 3, 6, 5] k) => (float[2, 3, 4, 6] y)"
    assert_rewrites(
        LowerEinsum(),
        f'{signature} {{y = Einsum<equation = "bhid,bhjd->bhij">(q, k)}}',
        f"{signature} {{t = Transpose<perm = [0, 1, 3, 2]>(k) y = MatMul(q, t)}}",
    )


def test_several_letters_become_one_axis():
    signature = "(float[2, 3, 4, 5] x, float[7, 5, 6] w) => (float[2, 3, 4, 7, 6] y)"
    assert_rewrites(
        LowerEinsum(),
        f'{signature} {{y = Einsum<equation = "bhwc,kcm->bhwkm">(x, w)}}',
        f"""{signature} <int64[2] s = {{24, 5}}, int64[2] t = {{5, 42}}, int64[5] u = {{2, 3, 4, 7, 6}}> {{
            a = Reshape(x, s) p = Transpose<perm = [1, 0, 2]>(w) b = Reshape(p, t) c = MatMul(a, b) y = Reshape(c, u)
        }}""",
    )


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij->ji", ["2, 3"]),
        ("ijk->k", ["2, 3, 4"]),
        ("ij", ["2, 3"]),
        ("ba,ac", ["2, 3", "3, 4"]),
        ("i,j->ij", ["2", "3"]),
        ("bij,bkj->kb", ["2, 3, 4", "2, 5, 4"]),
        ("ij,ij->", ["2, 3", "2, 3"]),
        ("i,i->i", ["3", "3"]),
        ("hbd,bhd->bh", ["2, 3, 4", "3, 2, 4"]),
        ("...ij->...ji", ["2, 3, 4"]),
        ("...ij->...ji", ["2, 3"]),
        ("...ij,...jk", ["2, 3, 4", "2, 4, 5"]),
        ("b...j,jk...->b...k", ["2, 6, 4", "4, 5, 6"]),
        ("...i,ij->...j", ["2, 4, 3", "3, 5"]),
        ("i...->...i", ["2, 4, 3"]),
        ("ii->i", ["3, 3"]),
        ("ii->", ["3, 3"]),
        ("iji->ji", ["3, 2, 3"]),
        ("iii->i", ["3, 3, 3"]),
        ("aib,bi->ai", ["2, 3, 2", "2, 3"]),
        ("ij,jk,kl->il", ["2, 3", "3, 4", "4, 5"]),
        ("bi,bj,bk->bijk", ["2, 3", "2, 4", "2, 5"]),
        ("ij,ik,il->jl", ["2, 3", "2, 4", "2, 5"]),
        ("...i,ij,jk->...k", ["2, 2, 3", "3, 4", "4, 5"]),
        ("ii,i,ij->j", ["3, 3", "3", "3, 4"]),
    ],
)
def test_numbers_of_equations(equation, shapes):
    names = "xwv"[: len(shapes)]
    inputs = ", ".join(f"float[{shape}] {name}" for name, shape in zip(names, shapes, strict=True))
    rank = len(equation.split("->")[-1]) if "->" in equation else 2
    if "..." in equation:
        arrays = [np.ones([int(size) for size in shape.split(", ")]) for shape in shapes]
        rank = np.einsum(equation, *arrays).ndim
    output = ", ".join("ABCD"[:rank])
    text = f'({inputs}) => (float[{output}] y) {{y = Einsum<equation = "{equation}">({", ".join(names)})}}'
    assert_rewrites(LowerEinsum(), text, None)


@pytest.mark.parametrize(
    ("equation", "inputs", "because"),
    [
        ("...ij->ji", "float[4, 2, 3] x", "ellipsis"),
        ("...i,...i->...", "float[2, 3] x, float[1, 3] w", "is of length 2 here and 1 there"),
        ("i->ii", "float[3] x", "twice"),
        ("ij,jk->ik", "float[N, 3] x, float[3, 4] w", "not static"),
    ],
)
def test_leaves_what_it_cannot_read(equation, inputs, because):
    names = ", ".join(item.split()[-1] for item in inputs.split(", ") if " " in item)
    rank = len(equation.split("->")[-1].replace("...", ""))
    text = f'({inputs}) => (float[{", ".join("ABC"[:rank])}] y) {{y = Einsum<equation = "{equation}">({names})}}'
    assert_leaves(LowerEinsum(), text, because=because)


def test_numbers_in_any_surroundings():
    sizes = dict(zip("abcdef", (2, 3, 4, 2, 3, 5), strict=True))

    def build(around: Surroundings) -> None:
        equation = around.choose(
            "ab,bc,cd->ad", "abc,cd->abd", "abc,adc->abd", "ab,cd->cabd", "abc,bcd->ad", "abcd,abed->abce", "ab->b"
        )
        terms = equation.split("->")[0].split(",")
        values = [around.op("Neg", around.input(*(sizes[letter] for letter in term))) for term in terms]
        around.op("Einsum", *values, equation=equation)

    check_surroundings(LowerEinsum(), build, least_hits=0.9)
