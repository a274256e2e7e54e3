import pytest

from npuopt.graph import Session, execution
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
