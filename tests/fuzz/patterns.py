"""The patterns that passes are tested on, collected from their property tests."""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support import surroundings
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from npuopt.pipeline import Pass
    from support.surroundings import Surroundings

FOLDERS = ("clean", "fuse", "layout", "lower", "move")
UNSTABLE = {"test_lower_mean_variance_normalization"}
"""Left out: ONNX Runtime takes the variance as a difference of squares, which may be less than nothing."""


@dataclass(frozen=True)
class Pattern:
    """What one property test draws.

    Attributes:
        name: of the test's file and function.
        build: adds the pattern to the surroundings.
        pass_type: the pass that it is aimed at.
        tolerance: that the test allows, None for the usual one.
    """

    name: str
    build: Callable[[Surroundings], object]
    pass_type: type[Pass]
    tolerance: float | None


def patterns() -> list[Pattern]:
    """Return the pattern of each property test of a pass that takes no parameters."""
    files = [file for folder in FOLDERS for file in sorted((ROOT / "tests" / "passes" / folder).glob("test_*.py"))]
    return [pattern for file in files for pattern in _patterns_of(file)]


def _patterns_of(file: Path) -> list[Pattern]:
    if file.stem in UNSTABLE or "check_surroundings" not in file.read_text(encoding="utf-8"):
        return []
    module = _module(file)
    found: list[Pattern] = []

    def note(
        pass_: Pass, build: Callable[[Surroundings], object], *, tolerance: float | None = None, **_: object
    ) -> None:
        found.append(Pattern(f"{file.stem}:{test.__name__}", build, type(pass_), tolerance))

    vars(module)[surroundings.check_surroundings.__name__] = note
    for test in list(vars(module).values()):
        draws = inspect.isfunction(test) and surroundings.check_surroundings.__name__ in test.__code__.co_names
        if draws and not inspect.signature(test).parameters:
            test()
    return found


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"fuzzed_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
