"""From what pydantic says to `file:line:column: path: message (did you mean ...)`."""

from __future__ import annotations

import difflib
import typing
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from npuopt.errors import InputError
from npuopt.target.constraints import KINDS
from npuopt.target.positions import Document, Path_, Problem, dotted
from npuopt.target.schema import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


class DescriptorError(InputError):
    """A descriptor is wrong; `problems` lists everything that is, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(str(problem) for problem in problems)
        super().__init__(lines if len(problems) == 1 else f"{len(problems)} problems in the descriptor:\n{lines}")


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` for the nearest known word, or nothing when none is near."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def explain(error: ValidationError, document: Document, schema: type[BaseModel] = Descriptor) -> list[Problem]:
    """Turn a validation error of `document`, held against `schema`, into problems with positions, one a place."""
    grouped: dict[Path_, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        grouped.setdefault(_path_in(document.data, details["loc"]), []).append(details)
    problems: list[Problem] = []
    for path, group in grouped.items():
        first = group[0]
        at_key = first["type"] == "extra_forbidden"
        problems.append(Problem(document.position(path, key=at_key), dotted(path), _message(group, schema)))
    return problems


def _path_in(data: object, location: Sequence[str | int]) -> Path_:
    """Drop from pydantic's location the tags of unions, which the file does not have."""
    path: list[str | int] = []
    expect_tag = False
    for index, part in enumerate(location):
        if expect_tag:
            expect_tag = False
            continue
        if isinstance(data, dict) and part in data:
            data = cast("dict[Any, Any]", data)[part]
        elif isinstance(data, tuple) and isinstance(part, int) and part < len(cast("tuple[Any, ...]", data)):
            data = cast("tuple[Any, ...]", data)[part]
        elif isinstance(data, dict) and index == len(location) - 1:
            data = None  # a missing key: name it, though the file does not have it
        else:
            continue
        path.append(part)
        expect_tag = part == "if" or (isinstance(part, int) and len(path) > 1 and path[-2] == "when")
    return tuple(path)


def _message(group: Sequence[ErrorDetails], schema: type[BaseModel]) -> str:
    wanted = list(dict.fromkeys(_EXPECTED[one["type"]] for one in group if one["type"] in _EXPECTED))
    details = group[0]
    given = details["input"]
    if wanted:
        return f"must be {' or '.join(wanted)}, not {_show(given)}"
    match details["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            key = details["loc"][-1]
            return f"unknown key{did_you_mean(key, _keys_at(schema, details['loc'][:-1]))}"
        case "literal_error":
            known = str(details.get("ctx", {}).get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
            return f"{_show(given)} is not one of {', '.join(known)}{did_you_mean(given, known)}"
        case "union_tag_invalid":
            ctx = details.get("ctx", {})
            known = str(ctx.get("expected_tags", "")).replace("'", "").split(", ")
            tag = str(ctx.get("tag", ""))
            return f"{ctx.get('discriminator')} {tag!r} is not one of {', '.join(known)}{did_you_mean(tag, known)}"
        case "union_tag_not_found":
            return _no_kind(given, str(details.get("ctx", {}).get("discriminator", "")))
        case _:
            return details["msg"].removeprefix("Value error, ")


def _no_kind(given: object, discriminator: str) -> str:
    """Say that a condition, or the delegate, has no key that says its kind."""
    if not isinstance(given, dict):
        return f"must be a mapping, not {_show(given)}"
    keys = [str(key) for key in cast("Mapping[Any, Any]", given)]
    if not discriminator.startswith("kind_of"):
        return f"{discriminator} is missing"
    suggestion = next((hint for key in keys if (hint := did_you_mean(key, KINDS))), "")
    return f"no key says the kind of condition, one of {', '.join(KINDS)}{suggestion}"


def _show(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys_at(schema: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """List the keys that the schema has at pydantic's `location`."""
    here: Any = schema
    for part in location:
        here = _step(here, part)
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return []
    return [info.alias or name for name, info in here.model_fields.items()]


def _step(here: object, part: str | int) -> object:
    """Go from a type to that of one of its parts: a field, a list's item, a mapping's value or a union's member."""
    if isinstance(here, type) and issubclass(here, BaseModel):
        for name, info in here.model_fields.items():
            if (info.alias or name) == part:
                return _strip(info.annotation)
        return None
    origin, arguments = typing.get_origin(here), typing.get_args(here)
    if origin is dict:
        return _strip(arguments[1])
    if origin is tuple:
        return _strip(arguments[0])
    if part in KINDS:
        return KINDS[str(part)]
    for member in arguments:  # the delegates, told apart by their road
        bare = _strip(member)
        if isinstance(bare, type) and issubclass(bare, BaseModel) and "road" in bare.model_fields:
            road = bare.model_fields["road"].annotation
            if part in typing.get_args(road):
                return bare
    return None


def _strip(annotation: object) -> object:
    """Take Annotated and `| None` off a type."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    members = [member for member in typing.get_args(annotation) if member is not type(None)]
    if len(members) == 1 and type(None) in typing.get_args(annotation):
        return _strip(members[0])
    return annotation
