"""From a descriptor file, and those it extends, to a Target; or everything that is wrong with it, at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from npuopt.target.diagnostics import DescriptorError, did_you_mean, explain
from npuopt.target.locate import find, find_id, list_targets, shown
from npuopt.target.positions import MAX_BYTES, Document, Path_, Position, Problem, read_yaml
from npuopt.target.schema import Descriptor
from npuopt.target.semantics import semantic_problems
from npuopt.target.target import Target

_WITH_SOURCE = ("ops", "schemes")
_WITH_SOURCE_ITSELF = ("shapes", "memory", "performance")


@dataclass
class Loaded:
    """A descriptor with all that it extends merged in.

    Attributes:
        document: the merged data with the position of every part.
        descriptor: None when the data does not fit the schema.
        removed_schemes: schemes of a family that this chip does not have; rules may go on naming them.
        problems: everything that is wrong.
    """

    document: Document
    descriptor: Descriptor | None = None
    removed_schemes: set[str] = field(default_factory=set[str])
    problems: list[Problem] = field(default_factory=list[Problem])


def load_target(id_or_path: str | Path) -> Target:
    """Load a target by its id, such as `qualcomm/sm8750`, or from a descriptor file.

    Raises:
        UsageError: no target of this id.
        InputError: no such file; DescriptorError, with every problem, when the descriptor is wrong.
    """
    path = find(id_or_path)
    return _target(load(path, shown(path)))


def parse_target(text: str, name: str = "descriptor.yaml") -> Target:
    """Make a target from a descriptor's text; `extends` may name installed targets only.

    Raises:
        DescriptorError: with every problem.
    """
    return _target(_validate(_with_parents(_read_text(text, name), folder=None, chain=())))


def load(path: Path, name: str) -> Loaded:
    """Load a file and list what is wrong with it; `name` is how problems call the file."""
    document = _read_text(_text_of(path), name)
    return _validate(_with_parents(document, folder=path.resolve().parent, chain=(path.resolve(),)))


def _target(loaded: Loaded) -> Target:
    if loaded.problems or loaded.descriptor is None:
        raise DescriptorError(sorted(loaded.problems, key=_order))
    return Target.of(loaded.descriptor, without_schemes=loaded.removed_schemes)


def _order(problem: Problem) -> tuple[str, int, int]:
    return problem.position.file, problem.position.line, problem.position.column


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")


def _read_text(text: str, name: str) -> Document:
    document = read_yaml(text, name)
    _push_source_down(document)
    return document


def _push_source_down(document: Document) -> None:
    """Give the file's `source` to every section that has none of its own, before files are merged."""
    source = document.data.get("source")
    if not isinstance(source, str):
        return
    places: list[Path_] = [(section,) for section in _WITH_SOURCE_ITSELF]
    for section in _WITH_SOURCE:
        entries = document.data.get(section)
        if isinstance(entries, dict):
            places.extend((section, key) for key in cast("dict[str, Any]", entries))
    for place in places:
        entry: Any = document.data
        for part in place:
            entry = entry.get(part)
        if isinstance(entry, dict) and "source" not in entry:
            entry["source"] = source
            document.values[*place, "source"] = document.values["source",]
            document.keys[*place, "source"] = document.keys["source",]


def _with_parents(document: Document, folder: Path | None, chain: tuple[Path, ...]) -> Loaded:
    """Merge the chain of `extends` below `document`."""
    loaded = Loaded(document, problems=list(document.problems))
    extends = document.data.get("extends")
    if not isinstance(extends, str):
        return _strip_nulls(loaded)
    place = document.position(("extends",))
    parent = _find_parent(extends, folder)
    if parent is None:
        families = [name for name in list_targets() if not name.startswith("_")]
        loaded.problems.append(Problem(place, "extends", f"no descriptor {extends!r}{did_you_mean(extends, families)}"))
        return _strip_nulls(loaded)
    if parent in chain:
        names = " -> ".join(file.stem for file in (*chain[chain.index(parent) :], parent))
        loaded.problems.append(Problem(place, "extends", f"goes round in a circle: {names}"))
        return _strip_nulls(loaded)
    base = _with_parents(_read_text(_text_of(parent), shown(parent)), parent.parent, (*chain, parent))
    merged = _Merge(base.document, document)
    removed = (base.removed_schemes | merged.removed_schemes) - set(_schemes_of(merged.result))
    return Loaded(merged.result, None, removed, [*base.problems, *loaded.problems, *merged.problems])


def _find_parent(extends: str, folder: Path | None) -> Path | None:
    """Find the extended file: an installed id, or `./name` beside this file, never outside its folder."""
    if not extends.startswith("./"):
        return find_id(extends)
    if folder is None:
        return None
    file = (folder / f"{extends}.yaml").resolve()
    return file if file.is_file() and file.is_relative_to(folder) else None


def _schemes_of(document: Document) -> dict[str, Any]:
    schemes = document.data.get("schemes")
    return cast("dict[str, Any]", schemes) if isinstance(schemes, dict) else {}


def _strip_nulls(loaded: Loaded) -> Loaded:
    """In a descriptor that extends nothing, report every null: there is nothing for it to remove."""
    merged = _Merge(Document({}, {(): loaded.document.values[()]}, {(): loaded.document.values[()]}), loaded.document)
    return Loaded(merged.result, None, set(), [*loaded.problems, *merged.problems])


class _Merge:
    """Lays one document over another: mappings are merged key by key, everything else is replaced, null removes."""

    def __init__(self, base: Document, over: Document) -> None:
        root = over.values[()]
        self.base, self.over = base, over
        self.problems: list[Problem] = []
        self.removed_schemes: set[str] = set()
        self.result = Document({}, {(): root}, {(): root})
        self.result.data = self._mapping(base.data, over.data, ())

    def _mapping(self, base: dict[Any, Any], over: dict[Any, Any], path: Path_) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        for key, value in base.items():
            place: Path_ = (*path, key)
            if key in over and not (isinstance(value, dict) and isinstance(over[key], dict)):
                continue
            if key in over:
                self._take(self.over, place)
                merged[key] = self._mapping(cast("dict[Any, Any]", value), cast("dict[Any, Any]", over[key]), place)
            elif place not in (("source",), ("name",), ("title",)):
                merged[key] = self._copy(self.base, cast("object", value), place)
        for key, value in over.items():
            place = (*path, key)
            if value is None:
                self._remove(key in base, place)
            elif key not in merged:
                merged[key] = self._copy(self.over, value, place)
        return merged

    def _remove(self, inherited: bool, place: Path_) -> None:
        if not inherited:
            where: Position = self.over.position(place)
            text = "has no value (a null removes what the extended descriptor says, and it says nothing here)"
            self.problems.append(Problem(where, ".".join(map(str, place)), text))
        if len(place) == 2 and place[0] == "schemes":
            self.removed_schemes.add(str(place[1]))

    def _copy(self, document: Document, value: object, place: Path_) -> object:
        self._take(document, place)
        if isinstance(value, dict):
            entries: dict[Any, Any] = {}
            for key, item in cast("dict[Any, Any]", value).items():
                if item is None:
                    self._remove(inherited=False, place=(*place, key))
                else:
                    entries[key] = self._copy(document, item, (*place, key))
            return entries
        if isinstance(value, tuple):
            items = cast("tuple[Any, ...]", value)
            return tuple(self._copy(document, item, (*place, index)) for index, item in enumerate(items))
        return value

    def _take(self, document: Document, place: Path_) -> None:
        self.result.values[place] = document.position(place)
        self.result.keys[place] = document.position(place, key=True)


def _validate(loaded: Loaded) -> Loaded:
    if not loaded.document.data and loaded.problems:
        return loaded
    try:
        loaded.descriptor = Descriptor.model_validate(loaded.document.data)
    except ValidationError as error:
        loaded.problems.extend(explain(error, loaded.document))
        return loaded
    loaded.problems.extend(semantic_problems(loaded.descriptor, loaded.document, loaded.removed_schemes))
    return loaded
