from pathlib import Path

import pytest

from tools.models import environment
from tools.models.environment import environment_python
from tools.models.failure import ModelError, last_lines


def pip_that(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let new environments hold, instead of Python, a shell script in which `pip install` does `script`."""

    def create(folder: Path, with_pip: bool) -> None:
        python = folder / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)

    monkeypatch.setattr(environment.venv, "create", create)


def requirements(folder: Path, text: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text(text)
    return path


def test_an_environment_is_made_anew_only_when_its_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_that(monkeypatch, "exit 0")
    folder = tmp_path / "environment"
    assert environment_python(folder, requirements(tmp_path, "torch==1\n")) == folder / "bin" / "python"
    (folder / "witness").touch()
    environment_python(folder, requirements(tmp_path, "torch==1\n"))
    assert (folder / "witness").exists()
    environment_python(folder, requirements(tmp_path, "torch==2\n"))
    assert not (folder / "witness").exists()


def test_an_environment_that_could_not_be_filled_is_not_taken_for_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_that(monkeypatch, "echo no such package >&2; exit 1")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"pip could not install requirements\.txt: no such package"):
            environment_python(tmp_path / "environment", requirements(tmp_path, "torch==1\n"))


def test_the_last_words_of_a_tool_fit_on_one_line() -> None:
    assert last_lines("one\n\n two \nthree\n", 2) == "two | three"
    assert last_lines("\n") == "it said nothing"
