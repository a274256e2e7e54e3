"""The integer program that gives each layer a scheme."""

import sys

import pytest

from npuopt.errors import ToolchainMissingError
from npuopt.quantization.accuracy.search import Bounds, Choice, Option, fastest, most_exact

NARROW, WIDE = 8, 16


def layer(name, noise, *, readers=(), time=1.0, converting=0.0, rounding=0.0, outputs=("y",)):
    """A layer of which 16 bits take twice the time and bytes, and leave no noise."""
    options = (
        Option("a8w8", NARROW, dict.fromkeys(outputs, noise), time, 100),
        Option("a16w8", WIDE, dict.fromkeys(outputs, 0.0), 2 * time, 200),
    )
    return Choice(name, options, readers, dict.fromkeys(outputs, rounding), converting)


def test_the_noisiest_layers_get_the_bits():
    found = fastest([layer("a", 0.5), layer("b", 0.1), layer("c", 0.2)], Bounds({"y": 0.35}))
    assert found.schemes == {"a": "a16w8", "b": "a8w8", "c": "a8w8"}
    assert found.noise["y"] == pytest.approx(0.3)
    assert found.time == pytest.approx(4)
    assert found.bytes == pytest.approx(400)


def test_a_cheap_layer_is_widened_before_an_expensive_one():
    choices = [layer("a", 0.3, time=10), layer("b", 0.3)]
    assert fastest(choices, Bounds({"y": 0.3})).schemes == {"a": "a8w8", "b": "a16w8"}


def test_neighbours_are_kept_alike_where_conversions_cost_more():
    apart = [layer("a", 0.3, readers=("b",)), layer("b", 0.1, readers=("c",)), layer("c", 0.3)]
    assert fastest(apart, Bounds({"y": 0.1})).schemes == {"a": "a16w8", "b": "a8w8", "c": "a16w8"}
    dear = [
        layer("a", 0.3, readers=("b",), converting=5),
        layer("b", 0.1, readers=("c",), converting=5),
        layer("c", 0.3),
    ]
    assert set(fastest(dear, Bounds({"y": 0.1})).schemes.values()) == {"a16w8"}


def test_a_wide_layer_is_of_no_use_to_a_narrow_reader():
    dear = layer("b", 0.1, time=100)
    alone = [layer("a", 0.3, readers=("b",)), dear]
    assert fastest(alone, Bounds({"y": 0.35})).schemes == {"a": "a16w8", "b": "a8w8"}
    rounded = [layer("a", 0.3, readers=("b",), rounding=0.3), dear]
    assert fastest(rounded, Bounds({"y": 0.35})).schemes == {"a": "a8w8", "b": "a16w8"}


def test_each_output_has_its_own_bound():
    choices = [layer("a", 0.5, outputs=("y",)), layer("b", 0.5, outputs=("z",))]
    assert fastest(choices, Bounds({"z": 0.1})).schemes == {"a": "a8w8", "b": "a16w8"}


def test_the_most_exact_within_a_budget():
    choices = [layer("a", 0.5), layer("b", 0.1), layer("c", 0.2)]
    assert set(most_exact(choices, ["y"], Bounds()).schemes.values()) == {"a16w8"}
    assert most_exact(choices, ["y"], Bounds(bytes=450)).schemes == {"a": "a16w8", "b": "a8w8", "c": "a8w8"}
    assert most_exact(choices, ["y"], Bounds(time=5)).schemes == {"a": "a16w8", "b": "a8w8", "c": "a16w8"}


def test_what_cannot_be_is_none():
    choices = [layer("a", 0.5), layer("b", 0.1)]
    assert most_exact(choices, ["y"], Bounds(bytes=100)) is None
    only = Choice("a", (Option("a8w8", NARROW, {"y": 0.5}, 1, 100),))
    assert fastest([only], Bounds({"y": 0.1})) is None


def test_many_layers_are_solved_at_once():
    choices = [layer(f"n{i}", 1.0 + i % 7, readers=(f"n{i + 1}",), converting=0.1, rounding=0.5) for i in range(300)]
    found = fastest(choices, Bounds({"y": 300.0}))
    assert found.noise["y"] <= 300.0 * 1.0001
    assert set(found.schemes.values()) == {"a8w8", "a16w8"}


def test_without_the_solver_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ToolchainMissingError, match=r"npuopt\[search\]"):
        fastest([layer("a", 0.5)], Bounds())
