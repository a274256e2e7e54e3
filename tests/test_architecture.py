"""The arrows of docs/architecture.md, kept by a test."""

import ast
import re
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
FOUNDATION = {"graph", "target", "errors"}
ROOMS = {"pipeline", "quantization", "partition", "delegates", "verify", "evaluate", "bundle", "report", "runtime"}
STRETCHES = sorted(path.stem for path in (ROOT / "npuopt" / "road").glob("[a-z]*.py"))


def road(*stretches: str) -> set[str]:
    return {f"road.{stretch}" for stretch in stretches}


ALLOWED = {
    "errors": set(),
    "graph": {"errors"},
    "target": {"errors", "graph"},
    "pipeline": FOUNDATION,
    "quantization": FOUNDATION,
    "partition": FOUNDATION,
    "decoder": FOUNDATION,
    "toolchain": {"errors"},
    "delegates": FOUNDATION | {"toolchain"},
    "verify": FOUNDATION | {"pipeline"},  # an observer of the runner
    "evaluate": FOUNDATION,
    "bundle": FOUNDATION,
    "report": FOUNDATION | {"bundle"},
    "tuning": FOUNDATION | {"quantization"},
    "runtime": FOUNDATION | {"bundle", "delegates", "quantization"},  # quantization: how samples are read
    # quantization: the encodings that one pass inserts; decoder: what those that freeze its cache are told
    "passes": FOUNDATION | {"pipeline", "quantization", "decoder"},
    "road.options": {"errors"},
    "road.preparation": FOUNDATION | {"pipeline"} | road("options"),
    "road.optimizing": FOUNDATION | {"pipeline", "verify", "bundle"} | road("options", "preparation"),
    "road.inspection": FOUNDATION | {"pipeline", "verify", "quantization"} | road("options", "optimizing"),
    "road.importing": FOUNDATION | {"pipeline", "quantization"} | road("options", "preparation", "optimizing"),
    "road.figures": FOUNDATION | {"partition"},
    "road.checking": FOUNDATION | {"partition"} | road("options", "importing", "forming", "records", "figures"),
    "road.stepping": FOUNDATION | {"pipeline", "quantization"} | road("options", "preparation"),
    "road.step_effects": FOUNDATION | ROOMS | road("options", "preparation", "quantizing", "stepping"),
    "road.mixing": FOUNDATION | {"quantization", "partition"} | road("sensing", "options"),  # counts multiply-adds
    "road.searching": FOUNDATION | {"quantization"} | road("compilation", "mixing", "options"),
    "road.float_mixing": FOUNDATION | {"quantization", "partition"} | road("mixing", "options"),  # the same
    "road.mix_searching": FOUNDATION | {"quantization"} | road("float_mixing", "mixing", "options", "searching"),
    "road.sensing": FOUNDATION | {"pipeline", "quantization"} | road("options"),  # the pass that writes encodings
    "road.halving": FOUNDATION | {"pipeline", "quantization"} | road("options", "preparation"),
    "road.time_left": road("options"),
    "road.float_runs": FOUNDATION | {"quantization", "verify"} | road("options", "preparation", "compilation"),
    "road.quantizing": FOUNDATION
    | ROOMS
    | road(
        "compilation",
        "float_runs",
        "halving",
        "holding",
        "mix_searching",
        "options",
        "preparation",
        "searching",
        "sensing",
        "stepping",
        "time_left",
    ),
    "road.forming": FOUNDATION | {"pipeline"} | road("options", "preparation", "importing", "keeping", "quantizing"),
    "road.holding": FOUNDATION | {"pipeline", "quantization"} | road("options", "preparation"),
    "road.distilling": FOUNDATION
    | ROOMS
    | {"tuning"}
    | road("options", "preparation", "importing", "compilation", "float_runs", "quantizing", "time_left"),
    "road.speaking": FOUNDATION | {"evaluate", "quantization", "runtime", "delegates", "bundle"} | road("options"),
    "road.answering": FOUNDATION | {"evaluate", "runtime", "bundle"} | road("options", "source_calibration"),
    "road.evaluating": FOUNDATION
    | {"evaluate", "quantization", "runtime", "delegates"}
    | road("options", "speaking", "answering"),
    "road.keeping": FOUNDATION
    | {"pipeline", "quantization"}
    | road("options", "preparation", "importing", "compilation", "float_runs", "quantizing"),
    "road.records": FOUNDATION
    | ROOMS
    | road("agreement", "figures", "options", "preparation", "compilation", "quantizing"),
    "road.agreement": FOUNDATION | {"bundle", "partition"} | road("float_mixing"),  # what a search would mix
    "road.running": FOUNDATION | {"runtime", "delegates"} | road("options", "records"),
    "road.compilation": FOUNDATION | ROOMS | road("options", "preparation"),
    "road.layering": FOUNDATION | {"delegates", "bundle"} | road("compilation"),
    "road.built": FOUNDATION | {"partition"} | road("preparation", "compilation"),
    "road.encoding": FOUNDATION | {"pipeline", "decoder", "passes"} | road("options", "preparation"),
    "road.encoder_decoder": FOUNDATION | {"pipeline", "decoder", "bundle", "passes"} | road("options", "encoding"),
    "road.decoding": FOUNDATION
    | {"pipeline", "decoder", "bundle", "passes"}
    | road("options", "preparation", "encoding", "encoder_decoder", "branches"),
    "road.branches": FOUNDATION | {"pipeline", "passes"},
    "road.source_calibration": FOUNDATION | {"bundle", "runtime"} | road("built", "encoder_decoder"),
    "road.source_parts": FOUNDATION
    | {"pipeline", "partition", "bundle"}
    | road(
        "source_calibration",
        "built",
        "decoding",
        "encoder_decoder",
        "forming",
        "optimizing",
        "options",
        "preparation",
        "quantizing",
    ),
    "road.driving": {"bundle"},
    "road.embedding_blocks": FOUNDATION | {"bundle"},
    "road.embedding_table": FOUNDATION | {"bundle"} | road("decoding", "driving", "embedding_blocks"),
    "road.language_model": FOUNDATION
    | ROOMS
    | {"decoder"}
    | road(
        "cache_holding",
        "embedding_table",
        "figures",
        "fitting",
        "halving",
        "options",
        "preparation",
        "compilation",
        "built",
        "decoding",
        "source_parts",
        "language_model_memory",
        "language_model_records",
        "optimizing",
        "profile_quantizing",
        "records",
        "states",
    ),
    "road.states": FOUNDATION | {"delegates", "bundle"},  # the metadata that delegates read, the record of caches
    "road.language_model_memory": FOUNDATION | {"partition", "bundle"} | road("built"),
    "road.fitting": FOUNDATION
    | {"partition", "bundle"}
    | road("halving", "language_model_memory", "options", "preparation"),
    "road.cache_holding": FOUNDATION
    | {"pipeline", "quantization", "bundle"}
    | road("driving", "built", "options", "profile_quantizing", "source_calibration"),
    "road.profile_quantizing": FOUNDATION
    | {"pipeline", "quantization", "bundle"}
    | road("driving", "built", "forming", "options", "quantizing", "stepping", "source_calibration"),
    # passes: the names of the inputs that they add
    "road.language_model_records": FOUNDATION | ROOMS | {"decoder", "passes"} | road("options", "records", "built"),
    "api": FOUNDATION | ROOMS | road(*STRETCHES) - road("distilling"),
    # optimizing and distilling: start without what compiling imports
    "cli": FOUNDATION | ROOMS | {"toolchain", "api", "tuning"} | road("options", "optimizing", "distilling"),
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
    if parts[0] == "passes":
        return parts[0]
    return ".".join(parts[1:3]) if parts[1] == "road" else parts[1]


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(
                f"{node.module}.{alias.name}" for alias in node.names if node.module in {"npuopt", "npuopt.road"}
            )
    return {name for name in names if name.startswith("npuopt.")}


def imported_rooms(path: Path) -> set[str]:
    parts = [name.split(".") for name in imported_modules(path)]
    return {".".join(part[1:3]) if part[1] == "road" else part[1] for part in parts} - {"__version__", "road"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    home = room(path)
    if home in {"__init__", "__main__", "road.__init__"}:
        return
    strays = imported_rooms(path) - ALLOWED[home] - {home}
    assert not strays, f"{home} must not import {', '.join(sorted(strays))}"


def test_the_rooms_of_quantization_have_no_cycle() -> None:
    home = ROOT / "npuopt" / "quantization"
    arrows = nx.DiGraph()
    for path in home.rglob("*.py"):
        inside = path.relative_to(home).parts[:-1]
        for name in imported_modules(path):
            parts = name.split(".")
            if inside and parts[1:2] == ["quantization"] and len(parts) > 3 and parts[2] != inside[0]:
                arrows.add_edge(inside[0], parts[2])
    assert arrows.has_edge("assignment", "calibration") or arrows.has_edge("rounding", "calibration")
    assert not list(nx.simple_cycles(arrows))


@pytest.mark.parametrize("path", sorted((ROOT / "passes").rglob("*.py")), ids=lambda path: path.stem)
def test_no_pass_names_a_chip(path: Path) -> None:
    found = CHIPS.search(path.read_text(encoding="utf-8"))
    assert not found, f"{path.name} names {found.group()!r}: ask the target instead"


def test_files_stay_readable() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert not {name: lines for name, lines in long.items() if lines > 300}
