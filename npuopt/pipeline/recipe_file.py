"""Reads recipes: YAML files that pin which passes run, in which order and with which options.

    target: vendor/chip                          # what `legalize` fits the graph to; --target wins
    dims: {batch: 1, seq: 128}                   # what `freeze` freezes; --dim wins, dim by dim
    options: {fold-constants: {growth_mib: 4}}   # wherever these passes stand
    without: [fuse-gelu]                         # left out of the groups
    passes:                                      # the standard order where this key is missing
      - repeat: [clean]                          # until a round changes nothing
      - freeze
      - fuse-pad
      - freeze-dims: {dims: {past: 127}}
      - repeat: [fuse, clean]
      - repeat: [layout, move, clean]
      - legalize

A recipe names passes and never loads code: passes of one's own come with --pass-file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from npuopt.errors import InputError, UsageError
from npuopt.pipeline.catalogue import catalogue, make_pass, with_options
from npuopt.pipeline.recipe import Choice, Item, Late, Recipe, Round
from npuopt.pipeline.recipes import CLEAN, FREEZE, FUSE, LAYOUT, LEGALIZED, MOVE
from npuopt.target.diagnostics import did_you_mean, explain
from npuopt.target.positions import MAX_BYTES, Document, Path_, Problem, dotted, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.pipeline.contract import Pass

GROUPS: dict[str, tuple[str, ...]] = {"clean": CLEAN, "layout": LAYOUT, "move": MOVE}
"""What stands for several passes of the standard order."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    target: str | None = None
    dims: dict[str, int] = {}
    options: dict[str, dict[str, Any]] = {}
    without: tuple[str, ...] = ()
    passes: tuple[Any, ...] | None = None


def read_recipe(path: Path, extra: Mapping[str, type[Pass]] | None = None) -> Recipe:
    """Read a recipe; `extra` are passes of the user's own that it may name.

    Raises:
        InputError: when there is no such file, or with every problem in it as `file:line:column: ...`.
    """
    if not path.is_file():
        raise InputError("there is no such file", where=str(path))
    with path.open("rb") as file:
        text = file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")
    reader = _Reader(read_yaml(text, str(path)), extra or {})
    recipe = reader.read()
    if reader.problems or recipe is None:
        lines = [str(problem) for problem in reader.problems]
        raise InputError(lines[0] if len(lines) == 1 else f"{len(lines)} problems in the recipe:\n" + "\n".join(lines))
    return recipe


class _Reader:
    def __init__(self, document: Document, extra: Mapping[str, type[Pass]]) -> None:
        self._document = document
        self._known = {**catalogue(), **extra}
        self._choice = Choice()
        self.problems = list(document.problems)

    def read(self) -> Recipe | None:
        if self.problems:
            return None
        try:
            file = _File.model_validate(self._document.data)
        except ValidationError as error:
            self.problems += explain(error, self._document, _File)
            return None
        for name, size in file.dims.items():
            if size < 0:
                self._problem(("dims", name), f"no dim has the size {size}")
        self._choice = self._read_choice(file)
        rounds = None if file.passes is None else self._rounds(file.passes)
        return Recipe(rounds, self._choice, file.target, file.dims)

    def _read_choice(self, file: _File) -> Choice:
        for name, options in file.options.items():
            self._make(name, options, ("options", name))
        standard = {*CLEAN, *FREEZE, *FUSE, *LAYOUT, *MOVE, *LEGALIZED}
        for index, name in enumerate(file.without):
            if name not in standard:
                text = f"{name!r} is no pass of the standard order{did_you_mean(name, standard)}"
                self._problem(("without", index), text)
        return Choice(file.options, frozenset(file.without))

    def _rounds(self, steps: tuple[Any, ...]) -> tuple[Round, ...]:
        rounds: list[Round] = []
        for index, step in enumerate(steps):
            place: Path_ = ("passes", index)
            if isinstance(step, dict) and set(cast("dict[str, Any]", step)) == {"repeat"}:
                repeated = cast("dict[str, Any]", step)["repeat"]
                if not isinstance(repeated, tuple):
                    self._problem((*place, "repeat"), "must be a list of passes")
                    continue
                inner = enumerate(cast("tuple[Any, ...]", repeated))
                items = [item for at, one in inner for item in self._items(one, (*place, "repeat", at))]
                rounds.append(Round(tuple(items), repeated=True))
            else:
                rounds.append(Round(tuple(self._items(cast("object", step), place))))
        return tuple(rounds)

    def _items(self, step: object, place: Path_) -> list[Item]:
        """Return what one entry stands for: a pass with or without options, a group, or a late step."""
        if isinstance(step, dict) and len(cast("dict[str, Any]", step)) == 1:
            name, options = next(iter(cast("dict[str, Any]", step).items()))
            if isinstance(options, dict):
                return self._make(str(name), cast("dict[str, Any]", options), (*place, name))
        if not isinstance(step, str):
            self._problem(place, "must be a pass, a pass with its options (name: {option: value}), or repeat: [...]")
            return []
        if step in GROUPS:
            return list(self._choice.make(GROUPS[step])) if not self.problems else []
        if step in list(Late):
            return [Late(step)]
        if "{" in step:
            return self._try(lambda: make_pass(step, extra=self._known), place)
        return self._make(step, self._choice.options.get(step, {}), place)

    def _make(self, name: str, options: Mapping[str, Any], place: Path_) -> list[Item]:
        if name not in self._known:
            words = (*self._known, *GROUPS, *Late, "repeat")
            self._problem(place, f"there is no pass called {name!r}{did_you_mean(name, words)}")
            return []
        return self._try(lambda: with_options(self._known[name], options), place)

    def _try(self, make: Any, place: Path_) -> list[Item]:  # noqa: ANN401 -- a function without arguments
        try:
            return [make()]
        except UsageError as error:
            self._problem(place, str(error))
            return []

    def _problem(self, place: Path_, message: str) -> None:
        position = self._document.position(place, key=isinstance(place[-1], str))
        self.problems.append(Problem(position, dotted(place), message))
