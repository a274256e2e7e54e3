"""The catalogue: every pass that can be named, found by looking, never listed by hand."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, cast, get_origin, get_type_hints

from npuopt.errors import InputError, UsageError
from npuopt.pipeline.contract import Pass
from npuopt.pipeline.option_text import parse_options
from npuopt.pipeline.surgery import surgeries_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

GROUPS = ("clean", "freeze", "fuse", "lower", "quantize", "tune", "layout", "move")
PASS_NAME = re.compile(r"[a-z0-9-]+")
PASS_CALL = re.compile(r"(?P<name>[a-z0-9-]+)(?:\{(?P<options>.*)\})?", re.DOTALL)


@cache
def catalogue() -> dict[str, type[Pass]]:
    """Return every pass by its kebab-case name: those of npuopt, then those of `npuopt.passes` entry points.

    Raises:
        InputError: when two passes share a name or a plug-in does not offer a pass.
    """
    found: dict[str, type[Pass]] = {}
    for module in _built_in_modules():
        for pass_type in passes_in(module):
            _register(found, pass_type)
    for entry in entry_points(group="npuopt.passes"):
        try:
            loaded = entry.load()
        except Exception as error:
            raise InputError(
                f"does not import: {type(error).__name__}: {error}",
                where=f"plug-in {entry.value}",
                hint="update or uninstall the package that offers it",
            ) from error
        if not (inspect.isclass(loaded) and issubclass(loaded, Pass)):
            raise InputError(
                "is not a pass (a class derived from npuopt.pipeline.Pass)", where=f"plug-in {entry.value}"
            )
        _register(found, loaded)
    return found


def group_of(pass_type: type[Pass]) -> str:
    """Return the catalogue group (`clean`, `fuse`, ...) of a built-in pass, or `plug-in`."""
    parts = pass_type.__module__.split(".")
    return parts[2] if parts[:2] == ["npuopt", "passes"] and len(parts) > 3 else "plug-in"


def find_pass(name: str, *, extra: dict[str, type[Pass]] | None = None) -> type[Pass]:
    """Return the pass of that name.

    Raises:
        UsageError: when there is none, with the closest names.
    """
    found = (extra or {}).get(name) or _by_file_name(name)
    if found is not None:
        return found
    known = {**catalogue(), **(extra or {})}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `npuopt passes list`"
    raise UsageError(f"there is no pass called {name!r}", hint=hint)


@cache
def _by_file_name(name: str) -> type[Pass] | None:
    """Return the pass of npuopt that the file of this name defines, without importing all others."""
    for group in GROUPS if PASS_NAME.fullmatch(name) else ():
        module = f"npuopt.passes.{group}.{name.replace('-', '_')}"
        if importlib.util.find_spec(module) is not None:
            return next((found for found in passes_in(importlib.import_module(module)) if found.name == name), None)
    return None


def make_pass(text: str, *, extra: dict[str, type[Pass]] | None = None) -> Pass:
    """Build a pass from `name` or `name{option=value,option=value}`; see npuopt.pipeline.option_text.

    Raises:
        UsageError: when the name, an option or a value is wrong.
    """
    match = PASS_CALL.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no pass", hint="write it as name or name{option=value}")
    pass_type = find_pass(match["name"], extra=extra)
    return with_options(pass_type, parse_options(match["options"] or "", text))


def with_options(pass_type: type[Pass], options: Mapping[str, Any]) -> Pass:
    """Build a pass with options given as text or values, each converted to its field's type.

    A mapping also fits an option that is a tuple of pairs.

    Raises:
        UsageError: when an option does not exist or its value does not fit.
    """
    values = _validated(pass_type, options) if options else {}
    try:
        return pass_type(**values)
    except TypeError as error:
        raise UsageError(f"pass {pass_type.name} misses an option: {error}") from None


def _validated(pass_type: type[Pass], options: Mapping[str, Any]) -> dict[str, Any]:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 -- costs 50 ms that passes without options save

    fields = {field.name: field for field in dataclasses.fields(pass_type) if field.init}
    hints = get_type_hints(pass_type)
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key not in fields:
            close = get_close_matches(key, fields, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            known = ", ".join(fields) or "none"
            raise UsageError(f"pass {pass_type.name} has no option {key!r}", hint=f"{meant}its options: {known}")
        fitting = tuple(cast("Mapping[str, Any]", value).items()) if _takes_pairs(hints[key], value) else value
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(fitting)
        except ValidationError as error:
            raise UsageError(
                f"{value!r} does not fit option {key!r} of {pass_type.name}: {error.errors()[0]['msg']}"
            ) from None
    return values


def _takes_pairs(hint: object, value: object) -> bool:
    return isinstance(value, Mapping) and get_origin(hint) is tuple


def load_pass_file(path: Path) -> dict[str, type[Pass]]:
    """Import the passes of a user's own Python file; its functions of a `gs.Graph` count as passes too.

    Raises:
        InputError: when the file does not import or holds no pass.
    """
    name = f"npuopt_user_passes_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError("is no Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"does not import: {type(error).__name__}: {error}", where=str(path)) from error
    found: dict[str, type[Pass]] = {}
    for pass_type in (*passes_in(module), *surgeries_in(module)):
        _register(found, pass_type)
    if not found:
        raise InputError(
            "holds no pass (a class derived from npuopt.pipeline.Pass, with a name, or a function of a gs.Graph)",
            where=str(path),
        )
    return found


def passes_in(module: ModuleType) -> Iterator[type[Pass]]:
    """Yield the concrete passes that a module itself defines."""
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, Pass) and not inspect.isabstract(member) and member.__module__ == module.__name__:
            yield member


def summary(pass_type: type[Pass]) -> str:
    """Return the catalogue sentence: the first line of the pass's docstring."""
    return (inspect.getdoc(pass_type) or "").split("\n", 1)[0]


def _built_in_modules() -> Iterator[ModuleType]:
    package = importlib.import_module("npuopt.passes")
    for group in GROUPS:
        parent = importlib.import_module(f"{package.__name__}.{group}")
        for info in sorted(pkgutil.iter_modules(parent.__path__), key=lambda found: found.name):
            yield importlib.import_module(f"{parent.__name__}.{info.name}")


def _register(found: dict[str, type[Pass]], pass_type: type[Pass]) -> None:
    name = pass_type.name
    if name in found and found[name] is not pass_type:
        raise InputError(f"two passes are called {name}: {found[name].__module__} and {pass_type.__module__}")
    found[name] = pass_type


def describe(pass_type: type[Pass]) -> dict[str, Any]:
    """Return what `passes show` prints, as plain data."""
    options = [
        {"name": field.name, "type": str(field.type), "default": _default_text(field)}
        for field in dataclasses.fields(pass_type)
        if field.init
    ]
    return {
        "name": pass_type.name,
        "group": group_of(pass_type),
        "summary": summary(pass_type),
        "documentation": inspect.getdoc(pass_type) or "",
        "needs": sorted(pass_type.needs),
        "gives": sorted(pass_type.gives),
        "breaks": sorted(pass_type.breaks),
        "produces": sorted(getattr(pass_type, "produces", ())),
        "options": options,
    }


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    return repr(field.default_factory()) if field.default_factory is not dataclasses.MISSING else "required"
