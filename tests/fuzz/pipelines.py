"""What a random graph is put through: the standard order, a target's, or any passes in any order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from npuopt.pipeline.catalogue import GROUPS, catalogue, group_of, make_pass
from npuopt.pipeline.recipes import CLEAN, FUSE
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import Legalize, lowerings
from npuopt.target import list_targets, load_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.graph import Model
    from npuopt.pipeline import Pass

GRAPH_GROUPS = {"clean", "fuse", "layout", "lower", "move"} & set(GROUPS)
MOST_PASSES = 12

pass_named = cache(make_pass)
target_named = cache(load_target)
every_lowering = cache(lambda: tuple(lowerings()))


@dataclass(frozen=True)
class Pipeline:
    """A way through the passes.

    Attributes:
        target: what the graph is fitted to in the end, if anything.
        passes: names, in order; the standard order where empty.
    """

    target: str | None
    passes: tuple[str, ...]

    def run(self, model: Model) -> bool:
        """Rewrite the model in place and say whether anything changed."""
        target = target_named(self.target) if self.target else None
        runner = Runner(target, "final")
        if self.passes:
            runner.run(model, _made(self.passes))
        else:
            runner.run_until_stable(model, _made(CLEAN))
            runner.run_until_stable(model, _made((*FUSE, *CLEAN)))
            if target is not None:
                runner.run(model, [Legalize(every_lowering(), target.float_scheme)])
                runner.run_until_stable(model, _made(CLEAN))
        return any(report.changed for report in runner.reports)


@cache
def names_of_graph_passes() -> tuple[str, ...]:
    """Return every pass that leaves the numbers as they are and needs no options."""
    return tuple(name for name, found in catalogue().items() if group_of(found) in GRAPH_GROUPS)


def draw_pipeline(draw: Callable[..., object]) -> Pipeline:
    """Draw one of the three kinds."""
    kind = draw(st.sampled_from(["standard", "target", "target", "any", "any"]))
    target = str(draw(st.sampled_from(list_targets()))) if kind == "target" else None
    names = st.lists(st.sampled_from(names_of_graph_passes()), min_size=1, max_size=MOST_PASSES)
    chosen = draw(names) if kind == "any" else []
    assert isinstance(chosen, list)
    return Pipeline(target, tuple(chosen))


def _made(names: tuple[str, ...]) -> list[Pass]:
    return [pass_named(name) for name in names]
