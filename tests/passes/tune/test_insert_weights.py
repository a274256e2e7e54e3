# no assert_rewrites: other numbers are what the pass is for
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuopt.errors import InputError
from npuopt.passes.tune.insert_weights import InsertWeights
from support.numbers import run
from support.rewrites import assert_leaves, model_from

TEXT = "(float[2,2] x) => (float[2,2] y, float[2,2] z) <float[2,2] w = {1,2,3,4}> { y = MatMul(x, w) z = Add(x, w) }"
NEW = np.array([[5, 6], [7, 8]], np.float32)


def test_every_reader_gets_the_new_numbers():
    model = model_from(TEXT)
    report = InsertWeights({"w": NEW})(model)
    assert [entry.node for entry in report.changed] == ["w"]
    x = np.eye(2, dtype=np.float32)
    got = run(model, {"x": x})
    np.testing.assert_array_equal(got["y"], NEW)
    np.testing.assert_array_equal(got["z"], NEW + x)


def test_numbers_come_from_a_file(tmp_path):
    np.savez(tmp_path / "weights.npz", w=NEW)
    model = model_from(TEXT)
    InsertWeights(tmp_path / "weights.npz")(model)
    np.testing.assert_array_equal(run(model, {"x": np.eye(2, dtype=np.float32)})["y"], NEW)


def test_the_same_numbers_are_no_change():
    assert_leaves(InsertWeights({"w": np.array([[1, 2], [3, 4]], np.float32)}), TEXT, because=None)


def test_without_weights_nothing_is_done():
    assert_leaves(InsertWeights(), TEXT, because="no weights were given")


@pytest.mark.parametrize(
    ("weights", "because"),
    [
        ({"v": NEW}, "v: weights are given for a constant that the model does not have"),
        ({"x": NEW}, "x: weights are given for a constant that the model does not have"),
        ({"w": NEW[0]}, r"float32\[2\] is given for a constant that is float32\[2, 2\]"),
        ({"w": NEW.astype(np.float64)}, "float64"),
        ({"w": NEW * np.nan}, "NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(weights, because):
    model = model_from(TEXT)
    with pytest.raises(InputError, match=because):
        InsertWeights({"w": NEW, **weights} if "w" not in weights else weights)(model)
    np.testing.assert_array_equal(run(model, {"x": np.eye(2, dtype=np.float32)})["y"], [[1, 2], [3, 4]])


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="weights cannot be read"):
        InsertWeights(tmp_path / "weights.npz")(model_from(TEXT))


@settings(max_examples=25, deadline=None)
@given(numbers=st.lists(st.floats(-4, 4, width=32), min_size=4, max_size=4))
def test_what_is_put_in_is_what_is_computed_with(numbers):
    model = model_from(TEXT)
    array = np.array(numbers, np.float32).reshape(2, 2)
    InsertWeights({"w": array})(model)
    np.testing.assert_array_equal(run(model, {"x": np.eye(2, dtype=np.float32)})["y"], array)
