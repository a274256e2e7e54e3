"""Installing toolchains: whole or not at all, whoever else installs, whenever it is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from npuopt.errors import NpuoptError, ToolchainMissingError, UsageError
from npuopt.toolchain import definition as definition_module
from npuopt.toolchain import environment
from npuopt.toolchain.environment import folder_of, installed
from npuopt.toolchain.installing import install, remove
from npuopt.toolchain.uv import find_uv
from support.toolchains import fake_uv, offline, tiny_toolchain, with_first_on_path

INSTALL = """
import sys
from pathlib import Path
from npuopt.toolchain.definition import read_definition
from npuopt.toolchain.installing import install
print(install(read_definition(Path(sys.argv[1]))).python)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for name, value in offline(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(definition_module, "HERE", tmp_path)
    return tmp_path


def in_a_process(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", INSTALL, str(folder / "definitions" / "tiny.toml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in (folder / "installed").glob("*tiny*") if not path.name.endswith(".lock")]


def test_an_installed_tool_is_found_with_versions_and_licence(here):
    tiny = tiny_toolchain(here)
    made = install(tiny)
    assert environment("tiny") == made
    assert made.tools() == {"tinytool": "1.0"}
    assert made.record() == {"name": "tiny", "versions": {"tinytool": "1.0"}, "licence": "Tiny-1.0", "lock": tiny.key}
    program = [made.python, "-I", "-c", "import tinytool; print(tinytool.ANSWER)"]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "42\n"
    assert leftovers(here) == [folder_of(tiny).name]


def test_a_second_install_changes_nothing(here):
    tiny = tiny_toolchain(here)
    before = (install(tiny).folder / "toolchain.json").stat().st_mtime_ns
    assert (install(tiny).folder / "toolchain.json").stat().st_mtime_ns == before


def test_what_is_not_installed_names_the_command_that_mends_it(here):
    tiny_toolchain(here)
    with pytest.raises(ToolchainMissingError, match="is not installed; npuopt toolchain install tiny"):
        environment("tiny")


def test_another_list_means_another_environment(here):
    made = install(tiny_toolchain(here))
    (here / "locks" / "tiny.txt").write_text((here / "locks" / "tiny.txt").read_text() + "# newer\n")
    with pytest.raises(ToolchainMissingError, match="in another version than this npuopt needs"):
        environment("tiny")
    assert made.folder.exists()


def test_an_environment_whose_python_is_gone_is_made_anew(here):
    tiny = tiny_toolchain(here)
    Path(install(tiny).python).unlink()
    assert installed(tiny) is None
    assert Path(install(tiny).python).exists()


def test_a_file_with_another_hash_is_not_installed(here):
    tiny = tiny_toolchain(here, digest="0" * 64)
    with pytest.raises(ToolchainMissingError, match=r"installing tiny failed: .*[Hh]ash mismatch"):
        install(tiny)
    assert leftovers(here) == []


def test_four_installs_at_once_make_one_environment(here):
    tiny = tiny_toolchain(here)
    ends = [process.communicate(timeout=60) for process in [in_a_process(here) for _ in range(4)]]
    assert {printed.strip() for printed, _ in ends} == {str(folder_of(tiny) / "bin" / "python")}, ends
    assert leftovers(here) == [folder_of(tiny).name]


def test_after_a_kill_in_the_middle_the_next_install_goes_on(here, monkeypatch):
    tiny = tiny_toolchain(here)
    path = os.environ["PATH"]
    fake_uv(here / "bin", f'[ "$1" = venv ] && exec {find_uv()} "$@"\ntouch {here}/reached; sleep 5')
    monkeypatch.setenv("PATH", with_first_on_path(here / "bin"))
    process = in_a_process(here)
    while not (here / "reached").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert installed(tiny) is None
    [partial] = leftovers(here)
    monkeypatch.setenv("PATH", path)
    assert install(tiny).tools() == {"tinytool": "1.0"}
    assert partial not in leftovers(here)


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("echo 'failed to write: No space left on device (os error 28)' >&2; exit 2", NpuoptError, "the disk is full"),
        ("echo 'error: no such package' >&2; exit 1", ToolchainMissingError, "failed: error: no such package"),
        ("exit 3", ToolchainMissingError, "uv said nothing"),
    ],
)
def test_a_failing_uv_leaves_nothing_behind(here, monkeypatch, script, error, says):
    fake_uv(here / "bin", script)
    monkeypatch.setenv("PATH", with_first_on_path(here / "bin"))
    with pytest.raises(error, match=says):
        install(tiny_toolchain(here))
    assert leftovers(here) == []


def test_what_cannot_fit_is_refused_before_anything_is_fetched(here, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 << 20))
    with pytest.raises(NpuoptError, match=r"takes about 500 MiB and 100 MiB are free.*NPUOPT_TOOLCHAINS"):
        install(tiny_toolchain(here, mib=500))


def test_a_folder_that_cannot_be_written_is_an_error_of_ours(here, monkeypatch):
    (here / "file").touch()
    monkeypatch.setenv("NPUOPT_TOOLCHAINS", str(here / "file"))
    with pytest.raises(UsageError, match="cannot be written"):
        install(tiny_toolchain(here))


def test_a_proprietary_tool_waits_for_its_licence_to_be_accepted_once(here):
    tiny = tiny_toolchain(here, proprietary=True)
    with pytest.raises(UsageError, match="--accept-licence tiny"):
        install(tiny)
    assert leftovers(here) == []
    install(tiny, accept=lambda _: True)
    remove("tiny")
    install(tiny)  # not asked again
    [record] = (here / "installed" / "licences").iterdir()
    assert "Tiny-1.0\nBe kind." in record.read_text()


def test_other_terms_have_to_be_accepted_anew(here):
    install(tiny_toolchain(here, proprietary=True), accept=lambda _: True)
    remove("tiny")
    path = here / "definitions" / "tiny.toml"
    path.write_text(path.read_text().replace("Be kind", "Pay"))
    with pytest.raises(UsageError, match="was not accepted"):
        install(definition_module.read_definition(path))


def test_removing_says_how_much_it_freed(here):
    made = install(tiny_toolchain(here))
    assert remove("tiny") >= made.bytes > 0
    assert remove("tiny") == 0
    assert leftovers(here) == []


def test_a_tool_for_other_machines_says_so(here, monkeypatch):
    tiny = tiny_toolchain(here)
    monkeypatch.setattr(definition_module, "this_platform", lambda: "plan9-mips")
    with pytest.raises(ToolchainMissingError, match=r"exists for .*, and this is plan9-mips"):
        install(tiny)


def test_without_uv_the_error_says_how_to_get_it(here, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ToolchainMissingError, match=r'pip install "npuopt\[toolchain\]"'):
        install(tiny_toolchain(here))
