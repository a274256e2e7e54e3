"""`npuopt toolchain`."""

from __future__ import annotations

import json

import pytest

from npuopt.toolchain import definition as definition_module
from support.command import complaint, npuopt
from support.toolchains import offline, tiny_toolchain

WORKS = "json.dump({'version': '1.0'}, open(sys.argv[2], 'w'))"
FAILS = "sys.exit('no such library')"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in offline(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(definition_module, "HERE", tmp_path)

    def make(doctor: str = WORKS, *, proprietary: bool = False) -> None:
        tiny_toolchain(tmp_path, doctor=doctor, proprietary=proprietary)

    return make


def test_a_toolchain_from_install_to_remove(tiny):
    tiny()
    [before] = json.loads(npuopt("toolchain", "list", "--json").stdout)
    assert (before["state"], before["versions"]) == ("not installed", {})
    made = json.loads(npuopt("toolchain", "install", "tiny", "--json").stdout)
    assert made["versions"] == {"tinytool": "1.0"}
    [after] = json.loads(npuopt("toolchain", "list", "--json").stdout)
    assert (after["state"], after["folder"] in made["python"]) == ("installed", True)
    [diagnosis] = json.loads(npuopt("toolchain", "doctor", "--json").stdout)
    assert (diagnosis["version"], diagnosis["fault"]) == ("1.0", "")
    assert "MiB freed" in npuopt("toolchain", "remove", "tiny").stdout
    assert "was not installed" in npuopt("toolchain", "remove", "tiny").stdout


def test_a_licence_is_shown_and_has_to_be_accepted(tiny):
    tiny(proprietary=True)
    refused = npuopt("toolchain", "install", "tiny")
    assert "--accept-licence tiny" in complaint(refused, 2)
    assert "Be kind." in refused.stderr
    taken = npuopt("toolchain", "install", "tiny", "--accept-licence", "tiny")
    assert taken.returncode == 0
    assert "Be kind." in taken.stderr


def test_the_name_of_another_toolchain_accepts_nothing(tiny):
    tiny(proprietary=True)
    said = complaint(npuopt("toolchain", "install", "tiny", "--accept-licence", "vela"), 2)
    assert "--accept-licence vela is not the toolchain tiny" in said


def test_the_doctor_fails_for_what_is_broken_or_asked_for_and_missing(tiny):
    tiny(FAILS)
    assert npuopt("toolchain", "doctor").returncode == 0
    assert "npuopt toolchain install tiny" in complaint(npuopt("toolchain", "doctor", "tiny"), 6)
    npuopt("toolchain", "install", "tiny")
    assert "failed with exit code 1 (no such library)" in complaint(npuopt("toolchain", "doctor"), 7)


def test_an_unknown_toolchain_is_wrong_usage():
    assert "there is no toolchain 'vella'" in complaint(npuopt("toolchain", "install", "vella"), 2)
