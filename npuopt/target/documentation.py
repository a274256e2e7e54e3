"""The docs pages of targets, `docs/targets/<vendor>/<chip>.md`, made from the descriptors.

`python -m npuopt.target.documentation docs` writes every page and the JSON Schema; a test says when they are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from npuopt.target.describe import describe
from npuopt.target.json_schema import json_schema_text
from npuopt.target.loader import load_target
from npuopt.target.locate import list_targets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuopt.target.target import Target


def page(target: Target) -> str:
    """Return a target's page as Markdown; sources are numbered and listed at its end."""
    return _Page(describe(target)).text()


class _Page:
    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.sources: dict[str, int] = {}

    def text(self) -> str:
        facts = self.facts
        lines = [f"# {facts['title']}", f"`{facts['name']}`. Made from its descriptor; do not edit.", ""]
        lines += [f"- {note}" for note in facts["notes"]]
        for section in ("delegate", "shapes", "memory", "performance"):
            lines += self._section(section, facts[section])
        lines += ["", "## Schemes", *_head("scheme", "activations", "weights", "scales", "bias", "source")]
        lines += [self._scheme(name, scheme) for name, scheme in facts["schemes"].items()]
        lines += ["", "## Ops", *_head("op", "schemes", "other data", "conditions", "quantization", "source")]
        lines += [self._op(op) for op in facts["ops"] if op["taken"]]
        refused = [op for op in facts["ops"] if not op["taken"]]
        if refused:
            lines += ["", "## Not taken", *_head("op", "why", "source")]
            lines += [_row(op["name"], op["refused"], self._source(op["source"])) for op in refused]
        lines += ["", "## Sources", *(f"{number}. {source}" for source, number in self.sources.items())]
        return "\n".join(lines) + "\n"

    def _source(self, source: str | None) -> str:
        return "" if not source else f"[{self.sources.setdefault(source, len(self.sources) + 1)}]"

    def _section(self, section: str, facts: dict[str, Any]) -> list[str]:
        shown = {name: value for name, value in facts.items() if name != "source"}
        if not shown:
            return []
        text = ", ".join(f"{name} {_value(value)}" for name, value in shown.items())
        return [f"- {section}: {text} {self._source(facts.get('source'))}".rstrip()]

    def _scheme(self, name: str, scheme: dict[str, Any]) -> str:
        activation, weight = scheme["activation"], scheme.get("weight", scheme["activation"])
        is_float = weight.startswith(("float", "bfloat")) and activation.startswith(("float", "bfloat"))
        block = f" of {scheme['weight_block']}" if scheme["weight_axis"] == "block" else ""
        scales = "" if is_float else f"one for each {scheme['weight_axis']}{block}"
        return _row(name, activation, weight, scales, scheme.get("bias"), self._source(scheme.get("source")))

    def _op(self, op: dict[str, Any]) -> str:
        types = [f"{place}: {', '.join(kinds)}" for place, kinds in op["data_types"].items()]
        wishes = [f"{name} {_value(value)}" for name, value in op["quantization"].items()]
        conditions = [*op["conditions"], *(text for text in (op["stricter"], op["notes"]) if text)]
        source = self._source(op["source"])
        return _row(op["name"], op["schemes"], "; ".join(types), "; ".join(conditions), "; ".join(wishes), source)


def _head(*cells: str) -> tuple[str, str]:
    return _row(*cells), "|---" * len(cells) + "|"


def _row(*cells: object) -> str:
    return "| " + " | ".join(_value(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(item)}" for key, item in cast("dict[str, object]", value).items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, cast("list[object]", value)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def write(docs: Path, targets: Iterable[str]) -> None:
    """Write the pages of targets and the JSON Schema below `docs`."""
    for name in targets:
        file = docs / "targets" / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page(load_target(name)), encoding="utf-8")
    (docs / "target.schema.json").write_text(json_schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), list_targets())
