"""Graphs in which some units carry nothing, so that taking out just these changes no number."""

import re

import numpy as np

from npuopt.pipeline.checks import structural_faults
from support.numbers import assert_close, draw_feeds, run
from support.rewrites import model_from


def model_with(text, **weights):
    """Read a graph and put numbers into its initializers, which the text declares as `float[2,3] name`."""
    for name, array in weights.items():
        written = ",".join(f"{number:.9g}" for number in np.asarray(array, np.float32).reshape(-1))
        text, count = re.subn(rf"(float\[[\d,]+\] \"?{re.escape(name)}\"?)(?=\s*[,>])", rf"\1 = {{{written}}}", text)
        assert count == 1, f"{name} is declared {count} times"
    return model_from(text)


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def without(array, axis, units, run=1):
    """Return the array with the parts of `units` along `axis` set to zero."""
    held = np.array(array)
    places = [unit * run + at for unit in units for at in range(run)]
    held[(slice(None),) * axis + (places,)] = 0
    return held


def assert_same_numbers_after(pass_, model, *, feeds=None):
    """Apply the pass, check the graph, and return the report; what was taken out carried nothing."""
    draws = [feeds or draw_feeds(model, seed) for seed in range(3)]
    expected = [run(model, draw) for draw in draws]
    report = pass_(model)
    assert not structural_faults(model)
    for draw, outputs in zip(draws, expected, strict=True):
        assert_close(outputs, run(model, draw))
    return report


def shape_of(model, name):
    return tuple(model.graph.initializers[name].shape)


def weights_read(model, op_type):
    """Return the shapes of the second inputs of all nodes of a type, in graph order."""
    return [tuple(node.inputs[1].shape) for node in model.graph if node.op_type == op_type]
