"""The stretch of the road that `optimize` and `bisect` share: the standard order, a recipe, or passes by name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from npuopt.errors import UsageError
from npuopt.graph import load, save
from npuopt.graph.saving import save_sharing
from npuopt.pipeline.catalogue import load_pass_file, make_pass
from npuopt.pipeline.checks import count_nodes
from npuopt.pipeline.dumps import Dumps
from npuopt.pipeline.recipe import Late, Recipe, Round
from npuopt.pipeline.recipes import APPROXIMATE
from npuopt.pipeline.runner import Observer, Runner, Verify
from npuopt.road.options import silent
from npuopt.road.preparation import Legalize, freezing, fusions, lowerings, prepare, require_dims

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from npuopt.graph import Model
    from npuopt.pipeline import Pass
    from npuopt.pipeline.recipe import Item
    from npuopt.road.options import Say
    from npuopt.target import Target
    from npuopt.verify.final import FinalComparison

PROFILES_FILE = "profiles.json"
PROFILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Wanted:
    """What is to be done to a model.

    Attributes:
        target: lower what this target refuses; the recipe's where None.
        passes: `name` or `name{option=value}`, to run just these.
        recipe: a recipe file; not together with `passes`.
        dims: dims to freeze, beside those of the recipe.
        pass_files: Python files with passes of the user's own.
    """

    target: str | None = None
    passes: Sequence[str] | None = None
    recipe: Path | None = None
    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    pass_files: tuple[Path, ...] = ()


class Optimizer:
    """Knows what is wanted, checked and read, and does it to any number of models.

    Attributes:
        target: what the graph is to fit, or None.
        dims: what is frozen.

    Raises:
        UsageError: when passes are named and a recipe given, or a pass or target does not exist.
        InputError: when the recipe or a pass file is wrong.
    """

    def __init__(self, wanted: Wanted) -> None:
        if wanted.recipe is not None and wanted.passes is not None:
            raise UsageError("a recipe and single passes exclude each other", hint="name the passes in the recipe")
        self._extra = {name: found for path in wanted.pass_files for name, found in load_pass_file(path).items()}
        self._pass_files = wanted.pass_files
        recipe = Recipe() if wanted.recipe is None else _read_recipe(wanted.recipe, self._extra)
        self._choice, self._rounds = recipe.choice, recipe.rounds
        if wanted.passes is not None:
            self._rounds = (Round(tuple(make_pass(text, extra=self._extra) for text in wanted.passes)),)
        name = wanted.target or recipe.target
        self.target: Target | None = _load_target(name) if name else None
        self.dims = {**recipe.dims, **wanted.dims}

    def apply(self, model: Model, runner: Runner, *, say: Say = silent) -> None:
        """Transform `model` in place.

        Raises:
            UsageError: when a dim does not exist.
            InternalError: when a pass leaves an invalid model.
        """
        scheme = self.target.float_scheme if self.target else None
        if self._rounds is None:
            files, choice = self._pass_files, self._choice
            prepare(model, runner, self.dims, scheme=scheme, pass_files=files, choice=choice, say=say)
            return
        for stage in self._rounds:
            steps = [step for item in stage.items for step in self._steps(item, scheme)]
            run = runner.run_until_stable if stage.repeated else runner.run
            require_dims(run(model, steps))

    def _steps(self, item: Item, scheme: str | None) -> Iterable[Pass]:
        if item is Late.FREEZE:
            return freezing(self.dims, self._choice) if self.dims else []
        if item is Late.FUSE:
            return self._choice.make(fusions(self.target, scheme))
        if item is Late.LEGALIZE:
            if self.target is None:
                raise UsageError("the recipe is to legalize, and no target is given", hint="give --target")
            return [Legalize(tuple(lowerings(self._extra.values())), scheme)]
        return [item]


def optimize(
    model: Path,
    output: Path,
    *,
    wanted: Wanted,
    verify: Verify = "final",
    dump: Path | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Run graph passes on an ONNX file and write the result; returns what `optimize --json` prints.

    Args:
        model: the ONNX file.
        output: the file to write.
        wanted: which passes to run, and for what.
        verify: `each`, `final` or `off`.
        dump: a folder for the graph after each pass.
        say: told what is being done.
    """
    optimizer = Optimizer(wanted)
    loaded = load(model)
    record = optimize_loaded(loaded, optimizer, source=model, verify=verify, dump=dump, say=say)
    save(loaded, output)
    return {**record, "output": str(output)}


def optimize_profiles(
    model: Path,
    output: Path,
    profiles: Mapping[str, Mapping[str, int]],
    *,
    wanted: Wanted,
    verify: Verify = "final",
    dump: Path | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Optimize one ONNX file once for each profile; the models share one file of weights.

    Args:
        model: the ONNX file, read once.
        output: a folder, which appears whole or not at all: `<profile>.onnx` each, `weights.data`, `profiles.json`.
        profiles: name -> dims to freeze, beside those of `wanted`.
        wanted: which passes to run, and for what.
        verify: `each`, `final` or `off`.
        dump: a folder that gets one folder a profile.
        say: told what is being done.

    Raises:
        UsageError: when a profile's name is no file name, or `output` exists and was not made by npuopt.
    """
    if strays := [name for name in profiles if not PROFILE_NAME.fullmatch(name)]:
        raise UsageError(f"{strays[0]!r} is no name for a profile", hint="use letters, digits, - and _")
    loaded = load(model)
    records: dict[str, dict[str, Any]] = {}
    made: dict[str, Model] = {}
    for name, dims in profiles.items():
        say(f"profile {name}")
        made[name] = loaded.clone()
        optimizer = Optimizer(replace(wanted, dims={**wanted.dims, **dims}))
        dumps = None if dump is None else dump / name
        record = optimize_loaded(made[name], optimizer, source=model, verify=verify, dump=dumps, say=say)
        records[name] = {"file": f"{name}.onnx", "dims": dict(optimizer.dims), **record}
    from npuopt.bundle import atomic_folder  # noqa: PLC0415 -- imports pydantic, which one model does not need

    with atomic_folder(output, PROFILES_FILE) as folder:
        save_sharing(made, folder)
        written = {name: {"file": record["file"], "dims": record["dims"]} for name, record in records.items()}
        (folder / PROFILES_FILE).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return {"output": str(output), "profiles": records}


def optimize_loaded(
    model: Model,
    optimizer: Optimizer,
    *,
    source: Path,
    verify: Verify = "final",
    dump: Path | None = None,
    say: Say = silent,
) -> dict[str, Any]:
    """Transform a loaded model in place, compare it with its source and return the record of what was done."""
    before = count_nodes(model)
    runner = Runner(optimizer.target, verify, observers(verify, optimizer.dims, dump))
    optimizer.apply(model, runner, say=say)
    notes = list(dict.fromkeys(note for item in runner.reports for note in item.notes))
    if verify == "final":
        say("comparing numbers with the source")
        notes.append(str(_compare_with_source(source, model, runner, optimizer.dims)))
    return {
        "nodes_before": before,
        "nodes_after": count_nodes(model),
        "passes": [
            {"name": item.name, "changed": len(item.changed), "declined": len(item.declined), "seconds": item.seconds}
            for item in runner.reports
        ],
        "notes": notes,
    }


def _compare_with_source(source: Path, made: Model, runner: Runner, sizes: Mapping[str, int]) -> FinalComparison:
    from npuopt.verify.final import FinalComparison, compare_with_source  # noqa: PLC0415 -- opens ONNX Runtime, which few runs need

    approximate = [report.name for report in runner.reports if report.changed and report.name in APPROXIMATE]
    if approximate:
        return FinalComparison(None, f"{approximate[0]} changes them by design")
    return compare_with_source(source, made, sizes)


def observers(verify: Verify, dims: Mapping[str, int], dumps: Path | None) -> list[Observer]:
    """Return what looks on while passes run."""
    found: list[Observer] = [Dumps(dumps)] if dumps else []
    if verify == "each":
        from npuopt.verify import NumbersObserver  # noqa: PLC0415 -- opens ONNX Runtime, which few runs need

        found.append(NumbersObserver(dims, approximate=APPROXIMATE))
    return found


def _read_recipe(path: Path, extra: Mapping[str, type[Pass]]) -> Recipe:
    from npuopt.pipeline.recipe_file import read_recipe  # noqa: PLC0415 -- imports pydantic, which the standard order does not need

    return read_recipe(path, extra)


def _load_target(name: str) -> Target:
    from npuopt.target import load_target  # noqa: PLC0415 -- imports pydantic, which a run without a target does not need

    return load_target(name)
