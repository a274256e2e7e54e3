"""Chooses what a search for precisions is among: a target's integer schemes, or one of them and floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.road.float_mixing import FloatMixing, float_scheme
from npuopt.road.mixing import Mixing, integer_choices
from npuopt.road.searching import Budget, Found, search_precisions

if TYPE_CHECKING:
    from npuopt.quantization.steps import Work
    from npuopt.road.mixing import Build
    from npuopt.road.searching import Search


def search_mix(work: Work, build: Build, search: Search) -> Found:
    """Search among the target's integer schemes or, where these leave no choice, for the nodes to leave in float.

    Args:
        work: calibrated; its precisions are those of nodes that are not to be touched.
        build: quantizes with given precisions.
        search: what must be reached, and what it may cost.

    Raises:
        AccuracyError: when no mix reaches the goal.
        UsageError: when there is nothing to choose between, or no data.
    """
    has_choice = any(len(schemes) > 1 for schemes in integer_choices(work).values())
    takes_floats = float_scheme(work.target) is not None and search.goal is not None and search.budget == Budget()
    mix = FloatMixing if takes_floats and not has_choice else Mixing
    return search_precisions(work, build, search, mix)
