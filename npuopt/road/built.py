"""One static graph of a language model on its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npuopt.partition import Plan
    from npuopt.road.compilation import CompiledPlan
    from npuopt.road.preparation import Prepared


@dataclass
class Built:
    """A profile, or a part beside the profiles: the graph that fits the target, where its nodes go, what was compiled.

    Attributes:
        name: of the profile or part.
        new: tokens in a run.
        prepared: the graph.
        plan: where its nodes go.
        compiled: what was made of it.
    """

    name: str
    new: int
    prepared: Prepared
    plan: Plan
    compiled: CompiledPlan | None = None
