import numpy as np
import pytest

from npuopt.passes.lower.lower_key_value_cache import LowerKeyValueCache
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings

SIGNATURE = """(float[N, 4, 3, 4] q, float[N, 2, 3, 4] k, float[N, 2, 3, 6] v, float[N, 2, P, 4] old,
    float[N, 2, P, 6] gone, float[3, T] m) => (float[N, 4, 3, 6] y, float[N, 2, T, 4] a, float[N, 2, T, 6] b)"""


def test_the_cache_is_joined_ahead():
    assert_rewrites(
        LowerKeyValueCache(),
        f"{SIGNATURE} {{y, a, b = Attention<scale = 0.25, softcap = 2.0>(q, k, v, m, old, gone)}}",
        f"""{SIGNATURE} {{
            a = Concat<axis = 2>(old, k) b = Concat<axis = 2>(gone, v)
            y = Attention<scale = 0.25, softcap = 2.0>(q, a, b, m)
        }}""",
        dims={"P": 5, "T": 8},
        tolerance=1e-6,
    )


@pytest.mark.parametrize(
    ("node", "because"),
    [
        ("Attention<is_causal = 1>(q, k, v, m, old, gone)", "it is causal"),
        ("Attention<q_num_heads = 4, kv_num_heads = 2>(q, k, v, m, old, gone)", "are not of rank 4"),
        ("Attention(q, k, v, m, old, gone)", "its scores are read"),
        ("Attention(q, k, v, m)", None),
    ],
)
def test_leaves_other_forms(node, because):
    text = f"{SIGNATURE} {{y, a, b = {node}}}"
    if because is None:
        text = text.replace(", float[N, 2, T, 4] a, float[N, 2, T, 6] b", "").replace("y, a, b", "y")
    elif "rank" in because:
        for name, shape, flat in (("q", "4, 3, 4", "3, 16"), ("k", "2, 3, 4", "3, 8"), ("v", "2, 3, 6", "3, 12")):
            text = text.replace(f"float[N, {shape}] {name}", f"float[N, {flat}] {name}")
        text = text.replace("float[N, 4, 3, 6] y", "float[N, 3, 24] y")
    elif "scores" in because:
        text = text.replace("T, 6] b)", "T, 6] b, float[N, 4, 3, T] c)").replace("y, a, b =", "y, a, b, c =")
    assert_leaves(LowerKeyValueCache(), text, because=because)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        past = around.choose(0, 1, 5)
        query = around.input(1, around.choose(2, 4), 3, 4)
        key, value = (around.op("Neg", around.input(1, 2, 3, size)) for size in (4, 6))
        olds = [np.random.default_rng(size).normal(size=(1, 2, past, size)).astype("f") for size in (4, 6)]
        mask = around.constant(np.arange(3)[:, None] + past >= np.arange(3 + past))
        around.ops("Attention", query, key, value, mask, *map(around.constant, olds), outputs=3)

    check_surroundings(LowerKeyValueCache(), build, least_hits=0.9, tolerance=1e-5)
