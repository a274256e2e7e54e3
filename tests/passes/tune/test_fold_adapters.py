import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from npuopt.errors import InputError
from npuopt.passes.tune.fold_adapters import FoldAdapters
from support.numbers import run
from support.pruning import model_with, numbers
from support.rewrites import assert_leaves

TEXT = "(float[2,3] x) => (float[2,4] y) <float[3,4] w> { y = MatMul(x, w) }"
GEMM = "(float[2,3] x) => (float[2,4] y) <float[4,3] w, float[4] b> { y = Gemm<transB=1>(x, w, b) }"
A, B = numbers(1, 2, 3), numbers(2, 4, 2)
X = numbers(3, 2, 3)


def small():
    return model_with(TEXT, w=numbers(0, 3, 4))


def test_the_product_is_added_to_the_weight():
    model = small()
    before = run(model, {"x": X})["y"]
    FoldAdapters({"w.lora_A": A, "w.lora_B": B, "w.alpha": np.float32(4)})(model)
    np.testing.assert_allclose(run(model, {"x": X})["y"], before + 2 * X @ A.T @ B.T, rtol=1e-4, atol=1e-5)
    assert list(model.graph.initializers) == ["w"]


def test_a_weight_that_is_held_the_other_way_round():
    model = model_with(GEMM, w=numbers(0, 4, 3), b=numbers(4, 4))
    before = run(model, {"x": X})["y"]
    FoldAdapters({"w.lora_A": A, "w.lora_B": B})(model)
    np.testing.assert_allclose(run(model, {"x": X})["y"], before + X @ A.T @ B.T, rtol=1e-4, atol=1e-5)


def test_names_as_peft_writes_them_in_its_own_format(tmp_path):
    model = model_with(
        TEXT.replace("w>", '"q.weight">').replace("x, w", 'x, "q.weight"'), **{"q.weight": numbers(0, 3, 4)}
    )
    before = run(model, {"x": X})["y"]
    names = "base_model.model.q.lora_A.weight", "base_model.model.q.lora_B.weight"
    save_file(dict(zip(names, (A, B), strict=True)), tmp_path / "adapter.safetensors")
    FoldAdapters(tmp_path / "adapter.safetensors")(model)
    np.testing.assert_allclose(run(model, {"x": X})["y"], before + X @ A.T @ B.T, rtol=1e-4, atol=1e-5)


def test_another_reader_keeps_the_old_weight():
    text = "(float[2,3] x) => (float[2,4] y, float[3,4] z) <float[3,4] w> { [first] y = MatMul(x, w) z = Neg(w) }"
    model = model_with(text, w=numbers(0, 3, 4))
    before = run(model, {"x": X})
    FoldAdapters({"first.lora_A": A, "first.lora_B": B})(model)
    after = run(model, {"x": X})
    np.testing.assert_array_equal(after["z"], before["z"])
    np.testing.assert_allclose(after["y"], before["y"] + X @ A.T @ B.T, rtol=1e-4, atol=1e-5)


def test_an_adapter_of_nothing_changes_no_number():
    text = "(float[1,2] x) => (float[1,2] y) <float[2,2] w = {1,2,3,4}> { y = MatMul(x, w) }"
    model = model_with(text)
    FoldAdapters({"w.lora_A": np.ones((1, 2)), "w.lora_B": np.zeros((2, 1))})(model)
    np.testing.assert_array_equal(run(model, {"x": np.eye(1, 2, dtype=np.float32)})["y"], [[1, 2]])


# no assert_rewrites: other numbers are what the pass is for
def test_without_adapters_nothing_is_done():
    assert_leaves(FoldAdapters(), small(), because="no adapters were given")


@pytest.mark.parametrize(
    ("adapters", "because"),
    [
        ({"v.lora_A": A, "v.lora_B": B}, "v: an adapter is given for a layer that the model does not have"),
        ({"w.lora_A": A}, "w: the adapter has only its half A"),
        ({"w.lora_A": A, "w.lora_B": B[:, :1]}, "no adapter of one rank"),
        ({"w.lora_A": A[:, :2], "w.lora_B": B}, "an adapter from 2 to 4 features for a layer from 3 to 4"),
        ({"w.lora_A": A * np.nan, "w.lora_B": B}, "NaN or infinity"),
        ({"w": A}, "w: is no part of a low-rank adapter"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(adapters, because):
    model = small()
    before = run(model, {"x": X})["y"]
    with pytest.raises(InputError, match=because):
        FoldAdapters(adapters)(model)
    np.testing.assert_array_equal(run(model, {"x": X})["y"], before)


@pytest.mark.parametrize("name", ["adapter.npz", "adapter.safetensors", "missing.npz"])
def test_a_file_that_is_none_is_refused(tmp_path, name):
    if "missing" not in name:
        (tmp_path / name).write_bytes(b"no archive at all")
    with pytest.raises(InputError, match="adapters cannot be read"):
        FoldAdapters(tmp_path / name)(small())


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 4), alpha=st.floats(0.5, 8), seed=st.integers(0, 99))
def test_any_rank_and_factor(rank, alpha, seed):
    model, lower, upper = small(), numbers(seed, rank, 3), numbers(seed + 1, 4, rank)
    before = run(model, {"x": X})["y"]
    FoldAdapters({"w.lora_A": lower, "w.lora_B": upper, "w.alpha": alpha})(model)
    expected = before + alpha / rank * X @ lower.T @ upper.T
    np.testing.assert_allclose(run(model, {"x": X})["y"], expected, rtol=1e-3, atol=1e-4)
