"""The doctor, with toolchains that work, crash and hang."""

from __future__ import annotations

import time

import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.doctor import examine
from npuopt.toolchain import definition as definition_module
from npuopt.toolchain import find_definition
from npuopt.toolchain.installing import install
from support.toolchains import needs_toolchain, offline, tiny_toolchain

WORKS = "import tinytool; json.dump({'version': str(tinytool.ANSWER)}, open(sys.argv[2], 'w'))"
CRASHES = "os.kill(os.getpid(), signal.SIGSEGV)"
HANGS = "time.sleep(600)"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Install the tiny toolchain with a doctor given as source text."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in offline(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(definition_module, "HERE", tmp_path)

    def make(doctor: str, *, installed: bool = True):
        definition = tiny_toolchain(tmp_path, doctor=doctor)
        if installed:
            install(definition)
        return definition

    return make


def test_a_tool_that_works_says_its_version(tiny):
    found = examine(tiny(WORKS))
    assert (found.installed, found.version, found.licence, found.fault, found.mend) == (True, "42", "Tiny-1.0", "", "")
    assert found.bytes > 0


def test_a_tool_that_crashes_is_named_with_the_command_that_mends_it(tiny):
    found = examine(tiny(CRASHES))
    assert "A tiny tool crashed (Segmentation fault)" in found.fault
    assert found.mend == "npuopt toolchain remove tiny && npuopt toolchain install tiny"


def test_a_tool_that_hangs_is_stopped(tiny):
    definition = tiny(HANGS)
    started = time.monotonic()
    assert "did not end in time" in examine(definition, limits=Limits(seconds=0.5)).fault
    assert time.monotonic() - started < 10


def test_what_is_not_installed_is_said_with_the_command_that_installs_it(tiny):
    found = examine(tiny(WORKS, installed=False))
    assert (found.installed, found.mend) == (False, "npuopt toolchain install tiny")


def test_what_the_user_has_set_up_for_his_own_python_does_not_reach_the_tool(tiny, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tinytool.py").write_text("ANSWER = 'stolen'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "mine"))
    assert examine(tiny(WORKS)).version == "42"


@pytest.mark.toolchain
def test_vela_installs_and_compiles_one_op():
    needs_toolchain("vela")
    found = examine(find_definition("vela"))
    assert (found.fault, found.version) == ("", "5.2.0")
