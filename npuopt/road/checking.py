"""What `check` does: where each node of a model would go on a target or on many, and what that would take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from npuopt.errors import NpuoptError
from npuopt.partition import partition, save_refused
from npuopt.road.figures import region_figures
from npuopt.road.forming import quantize_source
from npuopt.road.importing import open_prepared
from npuopt.road.options import DEFAULTS, silent
from npuopt.road.records import CheckResult, check_result
from npuopt.target import load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from npuopt.road.options import CompileOptions, Say


Done = TypeVar("Done")


def check(
    model: Path,
    target: str,
    options: CompileOptions = DEFAULTS,
    *,
    save_nodes: Path | None = None,
    say: Say = silent,
) -> CheckResult:
    """Say where each node of an ONNX file would go on a target, with reasons; nothing is compiled.

    Args:
        model: the ONNX file.
        target: a target's id, or a descriptor file.
        options: dims and precision matter here.
        save_nodes: a folder that gets each refused node as a one-op model.
        say: told what is being done.
    """
    chip = load_target(target)
    source, prepared = open_prepared(model, chip, options, calibrated=True, say=say)
    if source.incoming is not None:
        quantize_source(model, source, prepared, chip, replace(options, verify="off"), say=say)
    plan = partition(prepared.model, chip, source.scheme)
    saved = [] if save_nodes is None else save_refused(prepared.model, plan, save_nodes)
    figures = [region_figures(part, chip, source.scheme) for part in plan.regions]
    return check_result(model, chip, source.scheme, prepared, plan, saved=saved, regions=figures)


@dataclass(frozen=True)
class Refused:
    """A target for which a model could not be prepared at all, and why."""

    target: str
    error: NpuoptError

    def to_json(self) -> dict[str, Any]:
        """Return what `check --json` prints for it."""
        return {"target": self.target, "error": str(self.error)}


def check_targets(
    model: Path, targets: Sequence[str], options: CompileOptions = DEFAULTS, *, say: Say = silent
) -> list[CheckResult | Refused]:
    """Check a model on several targets, in their order.

    Raises:
        NpuoptError: the first target's, when it can be prepared for none of them.
    """
    return for_each_target(targets, lambda name: check(model, name, options, say=lambda text: say(f"{name}: {text}")))


def for_each_target(targets: Sequence[str], work: Callable[[str], Done]) -> list[Done | Refused]:
    """Do the same for several targets, in their order; the failure of one is no reason to leave out the next.

    Raises:
        NpuoptError: the first target's, when all fail.
    """
    found: list[Done | Refused] = []
    for name in targets:
        try:
            found.append(work(name))
        except NpuoptError as error:
            found.append(Refused(name, error))
    failed = [item for item in found if isinstance(item, Refused)]
    if failed and len(failed) == len(found):
        raise failed[0].error
    return found
