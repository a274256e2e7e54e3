"""`assert_rewrites` and its twin `assert_leaves`: the two sentences that every pass's test is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx.checker

from npuopt.graph import infer_shapes, parse, to_proto
from npuopt.pipeline import Report
from npuopt.pipeline.checks import interface, keeps_interface, structural_faults
from support.invariants import assert_invariants
from support.normal_form import NormalForm, normal_form
from support.numbers import assert_close, draw_feeds, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from npuopt.graph import Model
    from npuopt.pipeline import Pass
    from npuopt.target import Target
    from support.numbers import Arrays, Ranges

HEADER = '<ir_version: 12, opset_import: ["" : 24]>'
SEEDS = (0, 1, 2)


def model_from(text: str) -> Model:
    """Read a test's ONNX text and infer its shapes.

    Where the text gives no header (`<ir_version: ...>`) it is at the canonical opset; where it gives no graph name
    it starts with its inputs: `(float[N] x) => (float[N] y) {y = Relu(x)}`.
    """
    text = text.strip()
    if not text.startswith("<"):
        text = f"{HEADER}\n{'g ' if text.startswith('(') else ''}{text}"
    model = parse(text)
    infer_shapes(model)
    return model


def assert_rewrites(
    pass_: Pass,
    before: str | Model,
    after: str | Model | None,
    *,
    target: Target | None = None,
    dims: Mapping[str, int] | None = None,
    ranges: Ranges | None = None,
    feeds: Arrays | None = None,
    seeds: Iterable[int] = SEEDS,
    tolerance: float | None = None,
    because: str | None = None,
) -> Report:
    """Apply `pass_` to `before` and check that it became `after`, computes the same, and is done.

    Args:
        pass_: is run twice; the second run must change nothing.
        before: ONNX text as `model_from` reads it, or a model (which is changed).
        after: the expected graph; names and node order do not matter. None where only numbers are of interest.
        target: given to the pass.
        dims: sizes for symbolic dims; others vary with the seed.
        ranges: input -> (lowest, beyond highest) for integers, (mean, deviation) for floats.
        feeds: inputs to use as they are; those it does not name are drawn.
        seeds: one ONNX Runtime comparison for each; empty skips the numbers.
        tolerance: for floats, relative to the largest value; 0 asks for the same bits. By type where None.
        because: words that one of the reasons for what was declined must contain.

    Returns:
        The pass's report.
    """
    model = _read(before)
    draws = [{**draw_feeds(model, seed, dims_of=dims, ranges=ranges), **(feeds or {})} for seed in seeds]
    expected = [run(model, draw) for draw in draws]
    assert_invariants(pass_, to_proto(model), target, draws, tolerance)
    first, interface_before = normal_form(model), interface(model)
    report = pass_(model, target)
    _assert_honest(pass_, report, first, normal_form(model))
    assert report.changed, f"{pass_.name} changed nothing; it declined: {_reasons(report)}"
    _assert_valid(model)
    if pass_.keeps_interface:
        assert keeps_interface(interface_before, interface(model)), (
            "the graph's inputs or outputs are not what they were"
        )
    if after is not None:
        difference = normal_form(_read(after)).differences(normal_form(model))
        assert not difference, f"not the graph that was expected:\n{difference}"
    for draw, outputs in zip(draws, expected, strict=True):
        assert_close(outputs, run(model, draw), tolerance)
    if because is not None:
        assert because in _reasons(report), f"no reason says {because!r}, they are: {_reasons(report)}"
    settled = normal_form(model)
    again = pass_(model, target)
    assert not settled.differences(normal_form(model)), f"{pass_.name} changes its own result"
    assert not again.changed, f"{pass_.name} claims to have changed what it left: {again.changed}"
    return report


def assert_leaves(pass_: Pass, text: str | Model, *, because: str | None, target: Target | None = None) -> Report:
    """Apply `pass_` and check that nothing changed, and that the report says why.

    Args:
        pass_: the pass.
        text: ONNX text as `model_from` reads it, or a model.
        because: words that a reason (or a note) must contain; None where the pattern is not there at all, which
            is worth no line in the report.
        target: given to the pass.

    Returns:
        The pass's report.
    """
    model = _read(text)
    before = normal_form(model)
    report = pass_(model, target)
    difference = before.differences(normal_form(model))
    assert not difference, f"{pass_.name} changed the graph:\n{difference}"
    assert not report.changed, f"{pass_.name} claims a change where there is none: {report.changed}"
    if because is None:
        assert not report.declined, f"{pass_.name} should not see its pattern here: {_reasons(report)}"
    else:
        assert because in _reasons(report), f"no reason says {because!r}, they are: {_reasons(report)}"
    return report


def _read(source: str | Model) -> Model:
    model = model_from(source) if isinstance(source, str) else source
    _assert_valid(model)
    return model


def _assert_valid(model: Model) -> None:
    assert not structural_faults(model)
    onnx.checker.check_model(to_proto(model), full_check=True)


def _assert_honest(pass_: Pass, report: object, before: NormalForm, after: NormalForm) -> None:
    assert isinstance(report, Report), f"{pass_.name} returned {report!r}"
    assert report.name == pass_.name
    if before.differences(after):
        assert report.changed, f"{pass_.name} changed the graph and does not say so"


def _reasons(report: Report) -> str:
    return "; ".join([*(entry.text for entry in report.declined), *report.notes])
