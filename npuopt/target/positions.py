"""YAML with positions: plain data, and the file, line and column that every key and item came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1 << 20
"""Largest descriptor that is read: some hundred times the largest one that makes sense."""
MAX_DEPTH = 32

Path_ = tuple[str | int, ...]
Scalar = str | int | float | bool | None


class _Mark(Protocol):
    """A place as either of PyYAML's two parsers gives it; both count from zero."""

    line: int
    column: int


_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_AMBIGUOUS = frozenset({"yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True)
class Position:
    """A place in a file; line and column count from one."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a descriptor."""

    position: Position
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.position}: {self.path}: {self.message}" if self.path else f"{self.position}: {self.message}"


@dataclass
class Document:
    """A YAML document as plain data (mappings as dict, sequences as tuple) with a position for every path in it.

    `keys` holds where a key stands, `values` where its value stands; both hold the root under the empty path.
    """

    data: dict[Any, Any]
    keys: dict[Path_, Position]
    values: dict[Path_, Position]
    problems: list[Problem] = field(default_factory=list[Problem])

    def position(self, path: Path_, *, key: bool = False) -> Position:
        """Find where `path` stands, or its nearest ancestor that the file has."""
        places = self.keys if key else self.values
        for length in range(len(path), 0, -1):
            if path[:length] in places:
                return places[path[:length]]
        return self.values[()]


def dotted(path: Path_) -> str:
    """Write a path for a person: `ops.Conv.when[2].max`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def read_yaml(text: str, file: str) -> Document:
    """Parse one YAML document whose root is a mapping; what is wrong is listed in its `problems`.

    Beyond the YAML grammar these are problems: duplicate keys, anchors, aliases, tags, merge keys, more than one
    document, nesting deeper than `MAX_DEPTH`, and plain yes/no/on/off, which YAML 1.1 and 1.2 read differently.
    """
    return _Reader(text, file).read()


class _TooDeepError(Exception):
    """Ends the reading of a document; the problem is noted already."""


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.text = text
        self.document = Document({}, {(): Position(file, 1, 1)}, {(): Position(file, 1, 1)})

    def read(self) -> Document:
        if len(self.text.encode()) > MAX_BYTES:
            self._problem(None, (), f"the file is larger than {MAX_BYTES >> 10} KiB")
            return self.document
        try:
            self._read_root(iter(yaml.parse(self.text, Loader=_loader())))
        except _TooDeepError:
            self.document.data.clear()
        except yaml.MarkedYAMLError as error:
            self._problem(error.problem_mark or error.context_mark, (), f"not YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            self._problem(None, (), f"not YAML: {' '.join(str(error).split())}")
        return self.document

    def _read_root(self, events: Iterator[yaml.Event]) -> None:
        documents = 0
        for event in events:
            if not isinstance(event, yaml.NodeEvent):
                continue
            documents += 1
            if documents > 1:
                self._problem(event.start_mark, (), "more than one document in the file")
                return
            data = self._read_value(event, events, ())
            if isinstance(data, dict):
                self.document.data = cast("dict[Any, Any]", data)
            else:
                self._problem(event.start_mark, (), "the file must hold a mapping")
        if documents == 0:
            self._problem(None, (), "the file is empty")

    def _read_value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path_) -> object:
        self.document.values[path] = self._position(event.start_mark)
        self._refuse_features(event, path)
        if len(path) > MAX_DEPTH:
            self._problem(event.start_mark, (), f"nested deeper than {MAX_DEPTH} levels")
            raise _TooDeepError
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, path)
        return None  # an alias, already reported

    def _sequence(self, events: Iterator[yaml.Event], path: Path_) -> tuple[object, ...]:
        items: list[object] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._read_value(event, events, (*path, len(items))))
        return tuple(items)

    def _mapping(self, events: Iterator[yaml.Event], path: Path_) -> dict[object, object]:
        mapping: dict[object, object] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._read_value(event, events, (*path, "?"))
            value_event = next(events)
            if not isinstance(key, str | int):
                self._problem(event.start_mark, path, "a key must be a word or a whole number")
                key = str(key)
            if key == "<<":
                self._problem(event.start_mark, path, "merge keys are not allowed; use 'extends'")
            if key in mapping:
                first = self.document.keys[*path, key]
                self._problem(event.start_mark, (*path, key), f"duplicate key, first at line {first.line}")
            else:
                self.document.keys[*path, key] = self._position(event.start_mark)
            mapping[key] = self._read_value(value_event, events, (*path, key))
        return mapping

    def _scalar(self, event: yaml.ScalarEvent, path: Path_) -> Scalar:
        text = str(event.value)
        if event.style in tuple("'\"|>"):  # quoted or block text
            return text
        if text.lower() in _AMBIGUOUS:
            self._problem(
                event.start_mark, path, f"{text!r} is a word or a truth value: quote it, or say true or false"
            )
            return text
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if _INTEGER.match(text):
            return int(text, 16 if text.startswith("0x") else 10) if len(text) <= 20 else text
        return float(text) if _FLOAT.match(text) else text

    def _refuse_features(self, event: yaml.Event, path: Path_) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._problem(event.start_mark, path, "aliases are not allowed")
        elif getattr(event, "anchor", None) is not None:
            self._problem(event.start_mark, path, "anchors are not allowed")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._problem(event.start_mark, path, f"tags are not allowed ({tag})")

    def _position(self, mark: _Mark | None) -> Position:
        return Position(self.file, 1, 1) if mark is None else Position(self.file, mark.line + 1, mark.column + 1)

    def _problem(self, mark: _Mark | None, path: Path_, message: str) -> None:
        self.document.problems.append(Problem(self._position(mark), dotted(path), message))


def _loader() -> Any:  # noqa: ANN401 -- the two loader classes share no useful base type
    """Prefer libyaml's parser, ten times as fast, where the wheel has it."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
