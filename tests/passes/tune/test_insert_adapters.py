import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.errors import InputError
from npuopt.passes.tune.fold_adapters import FoldAdapters
from npuopt.passes.tune.insert_adapters import InsertAdapters
from npuopt.pipeline.checks import structural_faults
from support.numbers import run
from support.pruning import model_with, numbers
from support.rewrites import assert_leaves

TEXT = "(float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = MatMul(x, w) }"
INSIDE = "(float[2,3] x) => (float[2,4] y) <float[4,3] w, float[4] b> { h = Gemm<transB=1>(x, w, b) y = Relu(h) }"
A, B = numbers(1, 2, 3), numbers(2, 4, 2)
X = numbers(3, 2, 3)
ADAPTERS = {"w.lora_A": A, "w.lora_B": B}


def models():
    yield model_with(TEXT, w=numbers(0, 3, 4))
    yield model_with(INSIDE, w=numbers(0, 4, 3), b=numbers(4, 4))


# no assert_rewrites: the inputs that the pass adds have to be fed
def test_fed_with_the_adapter_the_model_computes_as_if_it_were_merged():
    for plain, merged in zip(models(), models(), strict=True):
        InsertAdapters(ADAPTERS)(plain)
        FoldAdapters(ADAPTERS)(merged)
        assert not structural_faults(plain)
        assert [value.name for value in plain.graph.inputs] == ["x", "w.down", "w.up"]
        got = run(plain, {"x": X, "w.down": np.ascontiguousarray(A.T), "w.up": np.ascontiguousarray(B.T)})["y"]
        np.testing.assert_allclose(got, run(merged, {"x": X})["y"], rtol=1e-4, atol=1e-5)


def test_fed_with_zeros_the_model_computes_as_before():
    for plain, adapted in zip(models(), models(), strict=True):
        InsertAdapters(ADAPTERS)(adapted)
        nothing = {"w.down": np.ascontiguousarray(A.T), "w.up": np.zeros((2, 4), np.float32)}
        np.testing.assert_array_equal(run(adapted, {"x": X, **nothing})["y"], run(plain, {"x": X})["y"])


def test_left_alone_where_the_product_has_a_factor():
    text = INSIDE.replace("transB=1", "transB=1, alpha=2.0")
    assert_leaves(
        InsertAdapters(ADAPTERS), model_with(text, w=numbers(0, 4, 3), b=numbers(4, 4)), because="factor of its own"
    )


def test_without_adapters_nothing_is_done():
    assert_leaves(InsertAdapters(), next(models()), because="no adapters were given")


def test_a_name_that_is_taken_is_refused():
    model = next(models())
    InsertAdapters(ADAPTERS)(model)
    with pytest.raises(InputError, match=r"w\.down: the model has an input or weight of this name already"):
        InsertAdapters(ADAPTERS)(model)


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 4), seed=st.integers(0, 99))
def test_adapters_of_one_rank_take_turns(rank, seed):
    model, merged = next(models()), next(models())
    InsertAdapters({"w.lora_A": np.ones((rank, 3)), "w.lora_B": np.ones((4, rank))})(model)
    lower, upper = numbers(seed, rank, 3), numbers(seed + 1, 4, rank)
    FoldAdapters({"w.lora_A": lower, "w.lora_B": upper})(merged)
    got = run(model, {"x": X, "w.down": np.ascontiguousarray(lower.T), "w.up": np.ascontiguousarray(upper.T)})["y"]
    np.testing.assert_allclose(got, run(merged, {"x": X})["y"], rtol=1e-3, atol=1e-4)
