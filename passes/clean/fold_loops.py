"""Loops whose number of rounds is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.graph import Graph, attribute_list, constant, input_at, producer, scalar, static_shape
from npuopt.passes.clean.bodies import copy_round
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldLoops(NodePass):
    """Loop and Scan of few rounds, known in number, become their rounds one after the other.

    v = Loop<body {w = Mul(v, c)}>(2, true, x) -> a = Mul(x, c), v = Mul(a, c)

    On request: a body that is written out twelve times is twelve times as large.

    Left alone: loops of more rounds than `most_rounds`; rounds that depend on the data; loops in functions.

    Attributes:
        most_rounds: how many rounds are written out at most; none unless asked for.
    """

    name: ClassVar[str] = "fold-loops"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"shapes-known", "constants-folded"})
    op_types: ClassVar[tuple[str, ...]] = ("Loop", "Scan")

    most_rounds: int = 0

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Count the rounds, then write them out."""
        del target
        body = node.attributes["body"].as_graph()
        rounds = _loop_rounds(node, body) if node.op_type == "Loop" else _scan_rounds(node)
        if isinstance(rounds, str):
            return Declined(rounds)
        if rounds > self.most_rounds:
            return Declined(f"it has {rounds} rounds, and most_rounds is {self.most_rounds}")
        if not isinstance(node.graph, Graph):
            return Declined("it is in a function")
        write = _write_loop if node.op_type == "Loop" else _write_scan
        made = write(node, body, rounds, edit)
        if made is None:
            return Declined("it makes a row for each of its 0 rounds")
        edit.replace_node(node, *made)
        return Changed(f"is {rounds} rounds")


def _loop_rounds(node: Node, body: Graph) -> int | str:
    """Return how often the body runs, or why that is not known."""
    if input_at(node, 1) is not None:
        condition = constant(input_at(node, 1))
        if condition is None:
            return "whether it begins is known at run time only"
        if not condition.all():
            return 0
    count = scalar(input_at(node, 0))
    if count is None:
        return "its number of rounds is known at run time only"
    if not _goes_on(body):
        return "whether it goes on is known at run time only"
    return max(int(count), 0)


def _goes_on(body: Graph) -> bool:
    """Say whether the body's condition is always true: a constant, or what came in."""
    value: Value | None = body.outputs[0]
    while (maker := producer(value, "Identity", "Cast")) is not None:
        value = maker.inputs[0]
    if value is body.inputs[1]:
        return True
    known = constant(value)
    return known is not None and bool(known.all())


def _write_loop(node: Node, body: Graph, rounds: int, edit: Editor) -> list[Value] | None:
    carried = [value for value in node.inputs[2:] if value is not None]
    rows: list[list[Value]] = [[] for _ in node.outputs[len(carried) :]]
    if not rounds:
        return None if rows else carried
    going = edit.constant(np.array(True), near=node)
    for index in range(rounds):
        counter = edit.constant(np.array(index, np.int64), near=node)
        _, *results = copy_round(body, [counter, going, *carried], node, edit)
        carried = results[: len(carried)]
        for row, value in zip(rows, results[len(carried) :], strict=True):
            row.append(value)
    return [*carried, *(_stacked(row, 0, node, edit) for row in rows)]


def _scan_rounds(node: Node) -> int | str:
    first = node.attributes["num_scan_inputs"].as_int()
    axes = attribute_list(node, "scan_input_axes", [0] * first)
    shape = static_shape(node.inputs[len(node.inputs) - first])
    return "the size of what it scans is not known" if shape is None else shape[axes[0]]


def _write_scan(node: Node, body: Graph, rounds: int, edit: Editor) -> list[Value] | None:
    count = node.attributes["num_scan_inputs"].as_int()
    states = len(node.inputs) - count
    carried = [value for value in node.inputs[:states] if value is not None]
    outputs = len(node.outputs) - states
    axes = attribute_list(node, "scan_input_axes", [0] * count)
    backward = attribute_list(node, "scan_input_directions", [0] * count)
    rows: list[list[Value]] = [[] for _ in range(outputs)]
    if rows and not rounds:
        return None
    for index in range(rounds):
        slices = [
            _row(node.inputs[states + place], rounds - 1 - index if backward[place] else index, axes[place], node, edit)
            for place in range(count)
        ]
        results = copy_round(body, [*carried, *slices], node, edit)
        carried = results[:states]
        for row, value in zip(rows, results[states:], strict=True):
            row.append(value)
    out_axes = attribute_list(node, "scan_output_axes", [0] * outputs)
    out_backward = attribute_list(node, "scan_output_directions", [0] * outputs)
    stacked = [
        _stacked(row[::-1] if out_backward[place] else row, out_axes[place], node, edit)
        for place, row in enumerate(rows)
    ]
    return [*carried, *stacked]


def _row(value: Value | None, index: int, axis: int, node: Node, edit: Editor) -> Value:
    place = edit.constant(np.array(index, np.int64), near=node)
    return edit.emit("Gather", [value, place], {"axis": axis}, before=node)


def _stacked(rows: list[Value], axis: int, node: Node, edit: Editor) -> Value:
    axes = edit.constant(np.array([axis], np.int64), near=node)
    raised = [edit.emit("Unsqueeze", [row, axes], before=node) for row in rows]
    return edit.emit("Concat", raised, {"axis": axis}, before=node)
