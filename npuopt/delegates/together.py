"""Asks a slow tool about many one-op models at once: several become one model, halved until the refused are found."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import onnx
from onnx.compose import add_prefix

from npuopt.target.probing.build import wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from npuopt.target.probing.build import Question

    Ask = Callable[[onnx.ModelProto], str]
    """Returns a tool's reason against a model, or an empty string where it takes it."""


def ask_together(
    questions: Sequence[Question], ask: Ask, *, most: int, progress: Callable[[int], None] = lambda _: None
) -> list[str]:
    """Return the tool's reason against each question's model; an empty string where it takes it.

    Args:
        questions: one-op models that the tool probably takes: of a refused model's questions each half is asked anew.
        ask: puts one model to the tool.
        most: questions in one model.
        progress: called with the number of questions answered.
    """
    reasons: dict[int, str] = {}
    for part in _parts(questions, most):
        waiting = [part]
        while waiting:
            places = waiting.pop()
            why = ask(join([questions[place] for place in places]))
            if why and len(places) > 1:
                middle = len(places) // 2
                waiting += [places[middle:], places[:middle]]
                continue
            reasons.update(dict.fromkeys(places, why))
            progress(len(reasons))
    return [reasons[place] for place in range(len(questions))]


def join(questions: Sequence[Question]) -> onnx.ModelProto:
    """Put questions side by side in one model; inputs of the same name, type and shape are one.

    So it hangs together where all first inputs are alike, which some tools ask of a model.
    """
    joined = wrap(onnx.GraphProto(name="questions"))
    graph, inputs = joined.graph, dict[tuple[str, bytes], str]()
    for place, question in enumerate(questions):
        one = add_prefix(question.model, f"q{place}_")
        shared: dict[str, str] = {}
        for plain, value in zip(question.model.graph.input, one.graph.input, strict=True):
            key = plain.name, plain.type.SerializeToString()
            if key not in inputs:
                graph.input.append(value)
            shared[value.name] = inputs.setdefault(key, value.name)
        for node in one.graph.node:
            node.input[:] = [shared.get(name, name) for name in node.input]
        graph.node.extend(one.graph.node)
        graph.output.extend(one.graph.output)
        graph.initializer.extend(one.graph.initializer)
        known = {imported.domain for imported in joined.opset_import}
        joined.opset_import.extend(imported for imported in one.opset_import if imported.domain not in known)
    return joined


def _parts(questions: Sequence[Question], most: int) -> Iterator[list[int]]:
    """Yield the places of questions whose first inputs are alike, at most so many."""
    alike: dict[bytes | int, list[int]] = defaultdict(list)
    for place, question in enumerate(questions):
        first = next(iter(question.model.graph.input), None)
        alike[place if first is None else first.type.SerializeToString()].append(place)
    for places in alike.values():
        for first_place in range(0, len(places), most):
            yield places[first_place : first_place + most]
