"""Watches which branches of If nodes calibration samples take: what never runs has no ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import is_constant, is_op, label
from npuopt.quantization.calibration.looking import Look
from npuopt.quantization.roles import is_float

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.calibration.looking import Summary

THEN, ELSE = "then", "else"


class BranchWatch:
    """Remembers which branches of the main graph's If nodes were taken."""

    def __init__(self, model: Model) -> None:
        self._nodes = [node for node in model.graph if is_op(node, "If") and not is_constant(node.inputs[0])]
        self._taken: dict[str, set[str]] = {_condition(node).name or "": set() for node in self._nodes}

    def looks(self) -> list[Look]:
        """Return what is wanted of the conditions that nodes make."""
        made = {_condition(node) for node in self._nodes if _condition(node).producer() is not None}
        return [Look(value, whole=True) for value in made]

    def watches(self, name: str) -> bool:
        """Say whether the tensor is a condition."""
        return name in self._taken

    def take(self, name: str, seen: np.ndarray | Summary) -> None:
        """Take in one sample's condition."""
        self._taken[name].add(THEN if bool(np.asarray(seen).all()) else ELSE)

    def never_taken(self) -> list[tuple[Node, str]]:
        """List the branches that no sample took."""
        return [
            (node, branch)
            for node in self._nodes
            for branch in (THEN, ELSE)
            if branch not in self._taken[_condition(node).name or ""]
        ]

    def require_all(self) -> None:
        """Check that each branch that makes floats was taken.

        Raises:
            InputError: naming the If node and the branch.
        """
        for node, branch in self.never_taken():
            if any(is_float(value) for value in node.outputs):
                raise InputError(
                    f"no calibration sample takes the {branch} branch, so nothing is known of its numbers",
                    where=f"node {label(node)} (If)",
                    hint="add samples that take it, or fix the condition with --dim or in the model",
                )

    def state(self) -> dict[str, np.ndarray]:
        """Return what it remembers."""
        return {"taken": np.array([[THEN in taken, ELSE in taken] for taken in self._taken.values()], np.bool_)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Remember what `state` returned once."""
        for taken, (then, otherwise) in zip(self._taken.values(), state["taken"].tolist(), strict=True):
            taken.update([THEN] * then + [ELSE] * otherwise)


def _condition(node: Node) -> Value:
    value = node.inputs[0]
    if value is None:
        raise InputError("an If has no condition", where=f"node {label(node)}")
    return value
