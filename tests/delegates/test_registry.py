"""A road's delegate is found by name, alone, and a road that nobody serves is said so."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from npuopt.delegates import registry
from npuopt.delegates.contract import NotProbed, Prober
from npuopt.delegates.registry import ROADS, find_delegate
from npuopt.errors import ToolchainMissingError, UsageError

HEAVY = ("tvm", "onnxruntime_qnn")


class PaperDelegate:
    """Compiles with a pencil."""

    road: ClassVar[str] = "paper"


@pytest.fixture
def plug_in(monkeypatch):
    def offer(name: str, value: str) -> None:
        entry = EntryPoint(name, value, "npuopt.delegates")
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])

    return offer


@pytest.mark.parametrize("road", ROADS)
def test_every_road_is_probed_or_says_why_not(road):
    delegate = find_delegate(road)
    assert isinstance(delegate, Prober) != isinstance(delegate, NotProbed)


@pytest.mark.parametrize("road", ROADS)
def test_every_road_has_its_delegate(road):
    delegate = find_delegate(road)
    assert delegate.road == road
    for method in ("ensure_available", "compile", "run"):
        assert callable(getattr(delegate, method))


@pytest.mark.parametrize("road", ROADS)
def test_finding_one_imports_no_vendor_library(road):
    source = (
        f"import sys; from npuopt.delegates.registry import find_delegate; find_delegate({road!r})\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_road_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"no delegate for the road 'paper'; known roads: .*ort.*, qnn.*, tvm"):
        find_delegate("paper")


def test_a_plug_in_brings_a_road(plug_in):
    plug_in("paper", f"{__name__}:PaperDelegate")
    assert find_delegate("paper").road == "paper"
    with pytest.raises(UsageError, match=r"known roads: .*ort.*, paper, .*qnn.*, tvm"):
        find_delegate("stone")


def test_a_plug_in_cannot_take_a_built_in_road(plug_in):
    plug_in("ort", f"{__name__}:PaperDelegate")
    assert find_delegate("ort").road == "ort"


def test_a_plug_in_that_does_not_import_is_a_missing_toolchain(plug_in):
    plug_in("paper", "no_such_module_at_all:Delegate")
    with pytest.raises(ToolchainMissingError, match="plug-in no_such_module_at_all:Delegate: does not import"):
        find_delegate("paper")
