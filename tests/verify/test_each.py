"""`--verify each` runs the graph after every pass and notices the one that changes its numbers."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from npuopt.errors import InputError, InternalError
from npuopt.passes.clean.drop_identities import DropIdentities
from npuopt.pipeline import Changed, NodePass, Pass, Report
from npuopt.pipeline.runner import Runner
from npuopt.verify import NumbersObserver
from support.rewrites import model_from

CHAIN = "(float[N, 4] x) => (float[N, 4] y) {a = Relu(x) b = Identity(a) y = Neg(b)}"


@dataclass(frozen=True)
class Replace(NodePass):
    """Neg becomes the ops it is told to become."""

    name: ClassVar = "replace"
    op_types: ClassVar = ("Neg",)

    by: tuple[str, ...] = ("Sin",)

    def rewrite(self, node, edit, target):
        value = node.inputs[0]
        for op in self.by:
            value = edit.emit(op, [value], before=node)
        edit.replace_node(node, value)
        return Changed("another op")


@dataclass(frozen=True)
class Nothing(Pass):
    """Nothing is done."""

    name: ClassVar = "nothing"

    def __call__(self, model, target=None):
        return Report(self.name)


def run(*steps, text=CHAIN, **options):
    observer = NumbersObserver({"N": 3}, **options)
    Runner(observers=[observer]).run(model_from(text), steps)
    return observer


def test_a_pass_that_keeps_the_numbers_goes_through():
    run(Nothing(), DropIdentities(), Replace(("Neg", "Abs", "Neg")))  # the input of Neg is never negative


def test_a_pass_that_changes_them_is_named_with_output_and_difference():
    with pytest.raises(
        InternalError, match=r"pass replace changed the numbers of output 'y' by .* of its range"
    ) as caught:
        run(DropIdentities(), Replace(("Sin",)))
    assert "npuopt passes show replace" in caught.value.hint


def test_each_pass_is_compared_with_the_one_before_it_not_with_the_source():
    with pytest.raises(InternalError, match="pass replace"):
        run(Replace(("Sin",)), approximate=frozenset({"nothing"}))
    run(Replace(("Sin",)), DropIdentities(), approximate=frozenset({"replace"}))


def test_integers_must_be_equal():
    text = "(int64[N] x) => (int64[N] y) {a = Identity(x) y = Neg(a)}"
    with pytest.raises(InternalError, match="output 'y'"):
        run(Replace(("Abs",)), text=text.replace("Identity(x)", "Add(x, one)").replace("{a", "<int64 one = {1}> {a"))


def test_nan_that_comes_or_goes_is_a_change():
    with pytest.raises(InternalError, match="output 'y'"):
        run(Replace(("Neg", "Sqrt")), text=CHAIN.replace("Relu", "Exp"))


def test_the_inputs_need_sizes():
    with pytest.raises(InputError, match=r"input 'x': has no static shape; give its dims with --dim"):
        Runner(observers=[NumbersObserver()]).run(model_from(CHAIN), [Nothing()])


def test_the_same_seeds_are_run_throughout():
    observer = run(Nothing(), Nothing(), samples=3)
    assert [feeds["x"].shape for feeds in observer._feeds] == [(3, 4)] * 3
    assert not np.array_equal(observer._feeds[0]["x"], observer._feeds[1]["x"])
