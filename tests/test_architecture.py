"""The arrows of docs/architecture.md, kept by a test."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOUNDATION = {"graph", "target", "errors"}
ROOMS = {"pipeline", "quantization", "partition", "delegates", "verify", "evaluate", "bundle", "report", "runtime"}
ALLOWED = {
    "errors": set(),
    "graph": {"errors"},
    "target": {"errors", "graph"},
    "pipeline": FOUNDATION,
    "quantization": FOUNDATION,
    "partition": FOUNDATION,
    "toolchain": {"errors"},
    "delegates": FOUNDATION | {"toolchain"},
    "verify": FOUNDATION | {"pipeline"},  # an observer of the runner
    "evaluate": FOUNDATION,
    "bundle": FOUNDATION,
    "report": FOUNDATION | {"bundle"},
    "tuning": FOUNDATION | {"quantization"},
    "runtime": FOUNDATION | {"bundle", "delegates", "quantization"},  # quantization: how samples are read
    "passes": FOUNDATION | {"pipeline", "quantization"},  # quantization: the encodings that one pass inserts
    "options": {"errors"},
    "preparation": FOUNDATION | {"pipeline", "options"},
    "optimizing": FOUNDATION | {"pipeline", "verify", "bundle", "options", "preparation"},
    "inspection": FOUNDATION | {"pipeline", "verify", "quantization", "options", "optimizing"},  # quantization: samples
    "importing": FOUNDATION | {"pipeline", "quantization", "options", "preparation"},
    "step_effects": FOUNDATION | ROOMS | {"options", "preparation", "quantizing", "stepping"},
    "stepping": FOUNDATION | {"pipeline", "quantization", "options", "preparation"},
    "mixing": FOUNDATION | {"quantization", "partition", "sensing", "options"},  # partition: counts multiply-adds
    "searching": FOUNDATION | {"quantization", "compilation", "mixing", "options"},
    "sensing": FOUNDATION | {"pipeline", "quantization", "options"},  # pipeline: the pass that writes encodings
    "quantizing": FOUNDATION
    | ROOMS
    | {"options", "preparation", "compilation", "holding", "stepping", "sensing", "searching"},
    "forming": FOUNDATION | {"pipeline", "options", "preparation", "importing", "keeping", "quantizing"},
    "holding": FOUNDATION | {"pipeline", "quantization", "options", "preparation"},
    "distilling": FOUNDATION | ROOMS | {"options", "preparation", "importing", "compilation", "quantizing", "tuning"},
    "evaluating": FOUNDATION | {"evaluate", "quantization", "runtime", "delegates", "options"},
    "keeping": FOUNDATION
    | {"pipeline", "quantization", "options", "preparation", "importing", "compilation", "quantizing"},
    "records": FOUNDATION | ROOMS | {"options", "preparation", "compilation", "quantizing"},
    "compilation": FOUNDATION | ROOMS | {"options", "preparation"},
    "api": FOUNDATION
    | ROOMS
    | {
        "options",
        "step_effects",
        "preparation",
        "importing",
        "keeping",
        "evaluating",
        "optimizing",
        "inspection",
        "compilation",
        "quantizing",
        "records",
    }
    | {"forming", "sensing"},
    # optimizing and distilling: start without what compiling imports
    "cli": FOUNDATION | ROOMS | {"toolchain", "options", "api", "optimizing", "distilling", "tuning"},
}
CHIPS = re.compile(
    r"qualcomm|hexagon|snapdragon|ethos|rockchip|rknn|openvino|neural.engine|vitis|edgetpu|mediatek|\bqnn\b|\btvm\b",
    re.IGNORECASE,
)


def sources() -> list[Path]:
    own = [path for path in (ROOT / "npuopt").rglob("*.py") if not path.is_relative_to(ROOT / "npuopt" / "passes")]
    return sorted([*own, *(ROOT / "passes").rglob("*.py")])


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "passes" else parts[1] if len(parts) > 1 else ""


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "npuopt")
    return {name.split(".")[1] for name in names if name.startswith("npuopt.")} - {"__version__"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    home = room(path)
    if home in {"", "__init__", "__main__"}:
        return
    strays = imported_rooms(path) - ALLOWED[home] - {home}
    assert not strays, f"{home} must not import {', '.join(sorted(strays))}"


@pytest.mark.parametrize("path", sorted((ROOT / "passes").rglob("*.py")), ids=lambda path: path.stem)
def test_no_pass_names_a_chip(path: Path) -> None:
    found = CHIPS.search(path.read_text(encoding="utf-8"))
    assert not found, f"{path.name} names {found.group()!r}: ask the target instead"


def test_files_stay_readable() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {name: lines for name, lines in long.items() if lines > 300}
