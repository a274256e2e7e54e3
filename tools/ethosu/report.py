"""Reads the report of `vela --supported-ops-report`: what an NPU takes, and under which constraints."""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = re.compile(r"Vela version: `([^`]+)`")
TITLE = re.compile(r"^#+ (.+?)(?: TFLite)? (Summary Table|Generic [Cc]onstraints|TFLite (\w+) Constraints)$")
OPERATOR = re.compile(r"^\| ([A-Z][A-Z0-9_]*) \|")
BULLET = re.compile(r"^( *)- (.+)$")


@dataclass(frozen=True)
class Report:
    """What one family of NPUs takes.

    Attributes:
        version: of Vela.
        operators: TFLite operator -> the constraints that only it has, one sentence each; parts of a nested one are
            joined by `; `.
        generic: constraints of all operators.
    """

    version: str
    operators: dict[str, tuple[str, ...]]
    generic: tuple[str, ...]


def read_report(text: str, family: str) -> Report:
    """Read the part of a report that is about `family`, such as `Ethos-U85`.

    Raises:
        ValueError: the report has another form than the one known.
    """
    version = VERSION.search(text)
    parts = _parts(text)
    operators = [match[1] for line in parts.get((family, "Summary Table"), ()) if (match := OPERATOR.match(line))]
    generic = _sentences(parts.get((family, "Generic Constraints"), []))
    if version is None or not operators or not generic:
        raise ValueError(f"the report says nothing of {family} in the form that is known")
    found = {name: tuple(_sentences(parts.get((family, name), []))) for name in operators}
    return Report(version[1], found, tuple(generic))


def _parts(text: str) -> dict[tuple[str, str], list[str]]:
    """Return the lines below each title, by family and operator (or the title's own name)."""
    parts: dict[tuple[str, str], list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            lines = []
            if match := TITLE.match(line):
                name = match[3] or match[2].replace("constraints", "Constraints")
                family = match[1].removesuffix(" TFLite")
                lines = parts.setdefault((family, name), [])
        else:
            lines.append(line)
    return parts


def _sentences(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        if match := BULLET.match(line):
            sentence = " ".join(match[2].split())
            if match[1] and found:
                found[-1] += f"; {sentence}"
            else:
                found.append(sentence)
    return found
