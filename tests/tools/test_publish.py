import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.paths import ROOT
from tools.models.publish import STAMP, is_current, publish, recipe_digest


def staged(folder: Path, text: str = "weights") -> Path:
    staging = folder / ".model.partial"
    staging.mkdir()
    (staging / "model.onnx").write_text(text)
    return staging


def test_a_published_folder_is_current_for_its_recipe_only(tmp_path: Path) -> None:
    publish(staged(tmp_path), tmp_path / "model", "recipe 1")
    assert is_current(tmp_path / "model", "recipe 1")
    assert not is_current(tmp_path / "model", "recipe 2")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("damage", ["changed", "removed", "stamp cut short", "stamp of another shape", "no folder"])
def test_a_damaged_folder_is_not_current(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    publish(staged(tmp_path), folder, "recipe")
    match damage:
        case "changed":
            (folder / "model.onnx").write_text("weightz")
        case "removed":
            (folder / "model.onnx").unlink()
        case "stamp cut short":
            (folder / STAMP).write_text((folder / STAMP).read_text()[:20])
        case "stamp of another shape":
            (folder / STAMP).write_text("[1]")
        case _:
            folder = tmp_path / "elsewhere"
    assert not is_current(folder, "recipe")


def test_publishing_replaces_what_was_there(tmp_path: Path) -> None:
    publish(staged(tmp_path, "old"), tmp_path / "model", "recipe 1")
    (tmp_path / "model" / "left behind").touch()
    publish(staged(tmp_path, "new"), tmp_path / "model", "recipe 2")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [STAMP, "model.onnx"]
    assert (tmp_path / "model" / "model.onnx").read_text() == "new"


def test_a_recipe_is_known_by_all_its_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("a")
    second.write_text("b")
    before = recipe_digest([first, second])
    second.write_text("c")
    assert recipe_digest([first, second]) != before


def test_only_one_process_makes_models_at_a_time(tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; from tools.models.publish import only_one\n"
    hold += "with only_one(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(tmp_path)]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    with start() as first:
        assert first.stdout.readline() == "in\n"
        with start() as second:
            time.sleep(0.5)  # long enough for it to get in, were it not for the first
            assert second.poll() is None
            first.communicate()
            assert second.stdout.readline() == "in\n"
            second.communicate()
