"""`npuopt targets lint`: everything that is wrong or doubtful in one descriptor file, with positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from npuopt.target.diagnostics import did_you_mean
from npuopt.target.loader import Loaded, load
from npuopt.target.locate import find, find_id, is_path, shown
from npuopt.target.positions import Path_, Problem, dotted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from npuopt.target.schema import Descriptor, OpRule

FAMILY_MAY_LACK = frozenset({"name", "title", "delegate", "schemes", "ops"})


def lint(id_or_path: str | Path, lowerings: Collection[str] | None = None) -> list[Problem]:
    """List every problem of a descriptor, in the order of the files. Family files may be checked as well.

    Beyond what loading refuses: op types that ONNX does not have, facts without a source, performance figures
    without a source, lowerings that do not exist, conditions that no node can meet together, a name that is not the
    file's.

    Args:
        id_or_path: as `load_target` takes it, or a family.
        lowerings: names of the lowering passes; None leaves the names in `lower` unchecked.

    Raises:
        UsageError, InputError: when there is no such file.
    """
    family_file = find_id(id_or_path) if isinstance(id_or_path, str) and not is_path(id_or_path) else None
    path = family_file or find(id_or_path)
    loaded = load(path, shown(path))
    problems = list(loaded.problems)
    if path.name.startswith("_"):
        problems = [problem for problem in problems if not _may_lack(problem)]
    elif loaded.descriptor is not None:
        problems.extend(_wrong_name(loaded, path))
    problems.extend(_unknown_ops(loaded))
    problems.extend(_without_source(loaded))
    if loaded.descriptor is not None:
        problems.extend(_contradictions(loaded, loaded.descriptor))
        if lowerings is not None:
            problems.extend(_unknown_lowerings(loaded, loaded.descriptor, lowerings))
    return sorted(dict.fromkeys(problems), key=lambda one: (one.position.file, one.position.line, one.position.column))


def _may_lack(problem: Problem) -> bool:
    return problem.path in FAMILY_MAY_LACK and problem.message == "is missing"


def _at(loaded: Loaded, path: Path_, message: str, *, key: bool = False) -> Problem:
    return Problem(loaded.document.position(path, key=key), dotted(path), message)


def _wrong_name(loaded: Loaded, path: Path) -> Iterator[Problem]:
    name = str(loaded.document.data.get("name"))
    if find_id(name) != path.resolve() and path.stem != name.rsplit("/", 1)[-1]:
        yield _at(loaded, ("name",), f"is {name!r} in a file called {path.name}")


def _section(loaded: Loaded, name: str) -> dict[str, Any]:
    section = loaded.document.data.get(name)
    return cast("dict[str, Any]", section) if isinstance(section, dict) else {}


def _unknown_ops(loaded: Loaded) -> Iterator[Problem]:
    import onnx  # noqa: PLC0415 -- only linting needs the list of all ops

    schemas = onnx.defs.get_all_schemas_with_history()
    known = {schema.name for schema in schemas if schema.domain in ("", "ai.onnx")}
    others = {schema.domain for schema in schemas} - {"", "ai.onnx"}
    for name in _section(loaded, "ops"):
        domain, separator, op_type = str(name).rpartition("::")
        if not separator and op_type not in known:
            yield _at(loaded, ("ops", name), f"ONNX has no op {op_type!r}{did_you_mean(op_type, known)}", key=True)
        elif domain in others and not onnx.defs.has(op_type, domain):
            yield _at(loaded, ("ops", name), f"{domain} has no op {op_type!r}", key=True)


def _without_source(loaded: Loaded) -> Iterator[Problem]:
    text = "has no source: say where this is known from, here or for the whole file"
    for section in ("schemes", "ops"):
        for name, entry in _section(loaded, section).items():
            if isinstance(entry, dict) and not cast("dict[str, Any]", entry).get("source"):
                yield _at(loaded, (section, name), text, key=True)
    for section in ("memory", "performance", "shapes"):
        entry = _section(loaded, section)
        if entry and not entry.get("source"):
            yield _at(loaded, (section,), text, key=True)


def _unknown_lowerings(loaded: Loaded, descriptor: Descriptor, lowerings: Collection[str]) -> Iterator[Problem]:
    for op_name, rule in descriptor.ops.items():
        for index, name in enumerate(rule.lower):
            if name not in lowerings:
                message = f"there is no lowering {name!r}{did_you_mean(name, lowerings)}"
                yield _at(loaded, ("ops", op_name, "lower", index), message)


def _contradictions(loaded: Loaded, descriptor: Descriptor) -> Iterator[Problem]:
    """Find bounds on one thing that exclude each other, and ranks above what the target takes at all."""
    for op_name, rule in descriptor.ops.items():
        yield from _empty_bounds(loaded, op_name, rule)
        most = descriptor.shapes.max_rank
        if rule.rank is not None and most is not None and rule.rank[0] > most:
            message = f"nothing fits: rank {rule.rank[0]} at least, and shapes.max_rank is {most}"
            yield _at(loaded, ("ops", op_name, "rank"), message)


def _empty_bounds(loaded: Loaded, op_name: str, rule: OpRule) -> Iterator[Problem]:
    seen: dict[tuple[object, ...], tuple[float, float]] = {}
    for index, condition in enumerate(rule.when):
        if condition.if_ is not None:
            continue
        facts = condition.model_dump(exclude={"source", "because", "if_", "one_of", "equal", "multiple_of"})
        low, high = facts.pop("min", None), facts.pop("max", None)
        subject = (type(condition), *sorted((key, str(value)) for key, value in facts.items()))
        before = seen.get(subject, (float("-inf"), float("inf")))
        low = before[0] if low is None else max(before[0], low)
        high = before[1] if high is None else min(before[1], high)
        seen[subject] = (low, high)
        if low > high:
            yield _at(loaded, ("ops", op_name, "when", index), f"nothing fits: at least {low} and at most {high}")
