"""Replaces a node by a formula of others, where the target takes all of these."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from npuopt.graph import Builder, Editor, is_constant, is_op
from npuopt.pipeline import Entry, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target


def replace_named(
    op_type: str,
    names: Collection[str],
    formula: Callable[[Node, Builder], Value],
    became: str,
    *,
    report: Report,
    model: Model,
    target: Target | None,
) -> Report:
    """Replace the nodes of one op that make these values, and put each on the report.

    Left alone: values that another op makes, and where the target refuses one of the new nodes.

    Args:
        op_type: of the nodes.
        names: of what they make.
        formula: emits ahead of the node that it is given and returns the value.
        became: what the report says of a node that was replaced.
        report: is returned.
        model: holds the nodes.
        target: None takes everything.
    """
    for node in list(model.graph) if names else ():
        name = node.outputs[0].name or ""
        if name not in names:
            continue
        why = f"no {op_type}"
        if is_op(node, op_type):
            _, why = replace_where_taken(node, partial(formula, node), model, target)
        (report.declined if why else report.changed).append(Entry(name, op_type, why or became))
    return report


def replace_where_taken(
    node: Node, formula: Callable[[Builder], Value], model: Model, target: Target | None
) -> tuple[Value | None, str]:
    """Replace what a node makes by a formula; return the new value, or None and which new node the target refuses.

    Args:
        node: is erased, with what only it read.
        formula: emits ahead of the node and returns the value.
        model: holds the node; as it was where the target refuses.
        target: None takes everything.
    """
    edit = Editor(model)
    before = set(model.graph)
    made = formula(Builder(edit, node))
    new = [each for each in model.graph if each not in before]
    refused = None if target is None else next((each for each in new if not target.accepts(each)), None)
    if target is not None and refused is not None:
        why = f"the {refused.op_type} would be refused: {target.accepts(refused).reasons[0]}"
        _drop(new, model)
        return None, why
    read = [value.producer() for value in node.inputs if value is not None]
    edit.replace_node(node, made)
    for maker in read:
        edit.erase_unread(maker)
    return made, ""


def _drop(new: list[Node], model: Model) -> None:
    """Remove nodes that nothing else reads, and the constants that they alone read."""
    constants = {value for node in new for value in node.inputs if is_constant(value) and value is not None}
    for node in reversed(new):
        Editor(model).erase(node)
    for value in constants:
        if not value.uses():
            model.graph.initializers.pop(value.name or "", None)
