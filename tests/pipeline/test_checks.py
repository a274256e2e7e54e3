import pytest

from npuopt.graph import parse
from npuopt.pipeline.checks import interface, keeps_interface
from support.rewrites import HEADER

BEFORE = "(float[N, K] x) => (float[unk__7, K] y) {y = Neg(x)}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (BEFORE, True),
        (BEFORE.replace("unk__7", "N"), True),
        (BEFORE.replace("unk__7", "3"), True),
        (BEFORE.replace("unk__7, K] y", "unk__7, L] y"), False),
        (BEFORE.replace("y) {y", "z) {z"), False),
        (BEFORE.replace("N, K] x", "M, K] x"), False),
    ],
)
def test_more_may_be_known_of_an_output_and_nothing_else_change(text, kept):
    assert keeps_interface(*(interface(parse(f"{HEADER}\ng {given}")) for given in (BEFORE, text))) is kept


@pytest.mark.parametrize(("dim", "kept"), [("N", True), ("3", True), ("L, K", False)])
def test_a_nameless_dim_of_an_output_may_get_a_name(dim, kept):
    texts = (BEFORE.replace("unk__7", "?"), BEFORE.replace("unk__7", dim))
    assert keeps_interface(*(interface(parse(f"{HEADER}\ng {text}")) for text in texts)) is kept
