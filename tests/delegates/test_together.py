"""Several one-op models put into one, and the refused among them found by halving."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from npuopt.delegates.together import ask_together, join
from npuopt.target.probing.build import build, run_reference
from npuopt.target.probing.case import Case, Data

IMAGE = Data((1, 4, 8, 8))
RELU, TANH, ADD = (
    build(Case(op, inputs), None) for op, inputs in (("Relu", (IMAGE,)), ("Tanh", (IMAGE,)), ("Add", (IMAGE, IMAGE)))
)
VECTOR = build(Case("Relu", (Data((1, 16)),)), None)


def refuses(*op_types):
    """Make a tool that refuses models that hold such ops, and counts what it was asked."""

    def ask(model):
        ask.sizes.append(len(model.graph.node))
        found = sorted({node.op_type for node in model.graph.node} & set(op_types))
        return f"unsupported ops: {found}" if found else ""

    ask.sizes = []
    return ask


def test_joined_questions_share_their_inputs_and_compute_what_each_does():
    joined = join([RELU, ADD, TANH])
    onnx.checker.check_model(joined, full_check=True)
    assert [value.name for value in joined.graph.input] == ["q0_x0", "q1_x1"]
    sample = {"q0_x0": ADD.sample["x0"], "q1_x1": ADD.sample["x1"]}
    made = run_reference(joined, sample)
    for place, question in enumerate((RELU, ADD, TANH)):
        expected = run_reference(question.model, {name: ADD.sample[name] for name in question.sample})
        np.testing.assert_array_equal(made[f"q{place}_y0"], expected["y0"])


def test_what_is_taken_is_asked_once():
    ask, told = refuses("Asinh"), []
    assert ask_together([RELU, ADD, TANH], ask, most=16, progress=told.append) == ["", "", ""]
    assert ask.sizes == [3]
    assert told == [3]


def test_the_refused_are_found_by_halving():
    ask = refuses("Tanh")
    questions = [RELU, ADD, TANH, RELU, RELU, RELU, RELU, RELU]
    reasons = ask_together(questions, ask, most=16)
    assert [place for place, why in enumerate(reasons) if why] == [2]
    assert reasons[2] == "unsupported ops: ['Tanh']"
    assert ask.sizes == [8, 4, 2, 2, 1, 1, 4]


@pytest.mark.parametrize(("most", "sizes"), [(2, [2, 1, 1]), (16, [3, 1])])
def test_only_questions_with_the_same_first_input_are_joined(most, sizes):
    ask = refuses()
    ask_together([RELU, VECTOR, ADD, TANH], ask, most=most)
    assert ask.sizes == sizes
