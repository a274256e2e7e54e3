"""The helpers must catch a pass that is wrong, lies, or is not done; else no test built on them means anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from npuopt.graph import Editor, Model, nodes
from npuopt.pipeline import Changed, Declined, Entry, NodePass, Outcome, Pass, Report
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(float[N] x) => (float[N] y) {a = Neg(x) b = Neg(a) y = Relu(b)}"
AFTER = "(float[N] q) => (float[N] y) {y = Relu(q)}"


@dataclass(frozen=True)
class DropDoubleNegation(NodePass):
    name = "drop-double-negation"
    op_types = ("Neg",)
    check_users: bool = True

    def rewrite(self, node, edit: Editor, target) -> Outcome:
        inner = node.inputs[0].producer()
        if inner is None or inner.op_type != "Neg":
            return None
        if self.check_users and len(inner.outputs[0].uses()) > 1:
            return Declined("the inner value is read elsewhere")
        edit.replace(node.outputs[0], inner.inputs[0])
        edit.erase_unread(node)
        return Changed("gone")


@dataclass(frozen=True)
class Wrong(NodePass):
    name = "wrong"
    op_types = ("Neg",)

    def rewrite(self, node, edit: Editor, target) -> Outcome:
        edit.replace(node.outputs[0], node.inputs[0])
        edit.erase(node)
        return Changed("gone")


@dataclass(frozen=True)
class Lying(Pass):
    name = "lying"

    def __call__(self, model: Model, target=None) -> Report:
        Wrong()(model)
        return Report(self.name)


@dataclass(frozen=True)
class NeverDone(Pass):
    name = "never-done"

    def __call__(self, model: Model, target=None) -> Report:
        report = DropDoubleNegation()(model)
        report.name = self.name
        report.changed.append(Entry("", "", "again"))
        return report


def test_a_right_rewrite_passes_whatever_the_names_are():
    report = assert_rewrites(DropDoubleNegation(), BEFORE, AFTER.replace("q", "x"))
    assert [entry.op_type for entry in report.changed] == ["Neg"]


@pytest.mark.parametrize(
    ("pass_", "after", "says"),
    [
        (DropDoubleNegation(), AFTER, "not the graph"),
        (DropDoubleNegation(), BEFORE, "not the graph"),
        (Wrong(), None, "Not equal|Mismatched"),
        (Lying(), None, "does not say so"),
        (NeverDone(), None, "claims to have changed"),
    ],
)
def test_a_wrong_expectation_or_pass_fails(pass_, after, says):
    before = "(float[N] x) => (float[N] y) {a = Neg(x) y = Relu(a)}" if pass_.name in ("wrong", "lying") else BEFORE
    with pytest.raises(AssertionError, match=says):
        assert_rewrites(pass_, before, after)


def test_constants_are_compared_by_value():
    twice = "(float[2] x) => (float[2] y) <float[2] w = {1, 2}> {a = Neg(x) b = Neg(a) y = Mul(w, b)}"
    with pytest.raises(AssertionError, match="constant 0"):
        assert_rewrites(
            DropDoubleNegation(), twice, "(float[2] x) => (float[2] y) <float[2] w = {1, 3}> {y = Mul(w, x)}"
        )


def test_a_graph_left_alone_must_say_why():
    shared = "(float[N] x) => (float[N] y, float[N] z) {a = Neg(x) y = Neg(a) z = Relu(a)}"
    assert_leaves(DropDoubleNegation(), shared, because="read elsewhere")
    assert_leaves(DropDoubleNegation(), AFTER.replace("q", "x"), because=None)
    with pytest.raises(AssertionError, match="no reason says"):
        assert_leaves(DropDoubleNegation(), shared, because="is too wide")
    with pytest.raises(AssertionError, match="changed the graph"):
        assert_leaves(DropDoubleNegation(), BEFORE, because=None)


def test_captured_values_and_subgraphs_have_normal_names():
    text = """(bool c, float[N] x) => (float[N] y) {
        a = Neg(x) b = Neg(a)
        y = If(c) <then_branch = t () => (float[N] p) {p = Relu(b)}, else_branch = e () => (float[N] q) {q = Neg(b)}>
    }"""
    after = text.replace("a = Neg(x) b = Neg(a)", "").replace("(b)", "(x)")
    model = model_from(text)
    assert len(nodes(model, "Relu")) == 1
    with pytest.raises(AssertionError, match="not the graph"):
        assert_rewrites(DropDoubleNegation(), text, after.replace("Relu(x)", "Abs(x)"))
    assert_rewrites(DropDoubleNegation(), text, after.replace("p =", "other =").replace("[N] p", "[N] other"))


def test_drawn_surroundings_find_what_a_pass_forgets():
    def build(around: Surroundings) -> None:
        around.op("Neg", around.op("Neg", around.input(2)))

    check_surroundings(DropDoubleNegation(check_users=True), build, least_hits=0.5)
    with pytest.raises(AssertionError):
        check_surroundings(Wrong(), build)


def test_a_property_test_that_never_hits_fails():
    with pytest.raises(AssertionError, match="only 0%"):
        check_surroundings(
            DropDoubleNegation(), lambda around: around.op("Add", around.input(2), around.constant(np.ones(2, "f")))
        )
