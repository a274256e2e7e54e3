import numpy as np
import pytest

from npuopt.graph import Editor, Session, execution, load, save
from npuopt.graph.execution import side_by_side
from support.rewrites import model_from


def threads_of(session):
    return session._session.get_session_options().intra_op_num_threads


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(execution, "_cores", lambda: 4)


@pytest.mark.parametrize(
    ("asked", "threads", "used"), [("1", 0, 1), ("1", 2, 2), ("64", 0, 4), ("", 0, 0), ("all", 0, 0), ("9" * 9, 0, 0)]
)
def test_a_share_of_the_machine_is_kept_to(four_cores, monkeypatch, asked, threads, used):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    model = model_from("(float[2] x) => (float[2] y) {y = Neg(x)}")
    assert threads_of(Session(model, threads=threads)) == used
    assert side_by_side(100, threads) == (used or 4)


def test_samples_side_by_side_share_the_threads(four_cores, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    model = model_from("(float[2] x) => (float[2] y) {y = Neg(x)}")
    assert threads_of(Session(model, at_once=2)) == 2


@pytest.fixture
def product(monkeypatch, tmp_path):
    """A file with a large constant, and inputs for it; nothing counts as small enough to be handed over as bytes."""
    monkeypatch.setattr(execution, "IN_MEMORY_BYTES", 64)
    model = model_from("(float[1, 128] x, float[128, 128] w) => (float[1, 128] y) {y = MatMul(x, w)}")
    weights = np.random.default_rng(0).standard_normal((128, 128), np.float32)
    (product,) = model.graph
    product.replace_input_with(1, Editor(model).constant(weights, near=product, name="weights"))
    model.graph.inputs.pop()
    save(model, tmp_path / "model.onnx", external_data=False)
    return tmp_path / "model.onnx", {"x": weights[:1]}


def refuse(*_, **__):
    raise AssertionError("weights are written")


def test_weights_that_lie_in_a_file_are_read_from_there(product, monkeypatch):
    path, feeds = product
    expected = Session(path, optimize=True).run(feeds)["y"]
    model = load(path)
    monkeypatch.setattr(execution, "save", refuse)
    np.testing.assert_array_equal(Session(model, optimize=True).run(feeds)["y"], expected)


def test_weights_of_a_file_that_was_replaced_are_those_that_were_loaded(product):
    path, feeds = product
    expected = Session(path).run(feeds)["y"]
    model = load(path)
    path.unlink()
    path.write_bytes(b"another")
    np.testing.assert_array_equal(Session(model).run(feeds)["y"], expected)
