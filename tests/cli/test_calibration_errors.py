"""Calibration data in every wrong form: one sentence, exit code 3, and no output."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from support.command import complaint, npuopt
from support.toy_road import toy_files

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

GOOD = np.zeros((2, 1, 4), np.float32)
CASES = {
    "missing input": ({"z": GOOD}, "x"),
    "wrong rank": ({"x": np.zeros(2, np.float32)}, "shape"),
    "wrong shape": ({"x": np.zeros((2, 1, 5), np.float32)}, "shape"),
    "wrong type": ({"x": np.zeros((2, 1, 4), np.int64)}, "int64"),
    "NaN": ({"x": np.full((2, 1, 4), np.nan, np.float32)}, "NaN"),
    "infinity": ({"x": np.full((2, 1, 4), np.inf, np.float32)}, "inf"),
    "NaN in the last sample": ({"x": np.concatenate([GOOD, np.full((1, 1, 4), np.nan, np.float32)])}, "NaN"),
    "no samples": ({"x": np.zeros((0, 1, 4), np.float32)}, "no samples"),
    "a scalar": ({"x": np.float32(3)}, "x"),
}


@pytest.fixture
def quantize(tmp_path):
    """Quantize the toy model with this calibration data."""
    chip, model, _ = toy_files(tmp_path / "inputs")

    def run(data: object) -> subprocess.CompletedProcess[str]:
        arguments = ("-t", chip, "--dim", "batch=1", "--precision", "a8w8", "-o", tmp_path / "q.onnx")
        return npuopt("quantize", model, *arguments, "--calibration", data)

    return run


def check(quantize, data: object, *words: str) -> None:
    sentence = complaint(quantize(data), 3)
    for word in words:
        assert word in sentence, sentence


def test_good_data_goes_through(quantize, tmp_path) -> None:
    np.savez(tmp_path / "c.npz", x=GOOD + np.arange(4, dtype=np.float32))
    assert quantize(tmp_path / "c.npz").returncode == 0
    assert (tmp_path / "q.onnx").is_file()


@pytest.mark.parametrize("case", CASES)
def test_arrays_that_do_not_fit(quantize, tmp_path, case) -> None:
    arrays, words = CASES[case]
    np.savez(tmp_path / "c.npz", **arrays)
    check(quantize, tmp_path / "c.npz", words)
    assert not (tmp_path / "q.onnx").exists()


def test_files_that_are_none(quantize, tmp_path) -> None:
    check(quantize, tmp_path / "none.npz", "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    check(quantize, tmp_path / "text.npz", "text.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    check(quantize, tmp_path / "empty.npz", "empty.npz")
    (tmp_path / "folder").mkdir()
    check(quantize, tmp_path / "folder", "folder")


def test_an_archive_cut_short(quantize, tmp_path) -> None:
    np.savez(tmp_path / "c.npz", x=np.zeros((50, 1, 4), np.float32))
    whole = (tmp_path / "c.npz").read_bytes()
    for kept in (10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "c.npz").write_bytes(whole[:kept])
        check(quantize, tmp_path / "c.npz", "c.npz")


def test_objects_are_never_unpickled(quantize, tmp_path) -> None:
    np.savez(tmp_path / "c.npz", allow_pickle=True, x=np.array([{"a": 1}], dtype=object))
    check(quantize, tmp_path / "c.npz", "c.npz")


def test_an_array_that_claims_to_be_huge(quantize, tmp_path) -> None:
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1, 4), }"
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("x.npy", header.ljust(127) + b"\n")
    check(quantize, tmp_path / "c.npz", "c.npz")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "has no function samples"),
        ("1 / 0", "ZeroDivisionError"),
        ("def samples(): return 3", "gives no samples"),
        ("def samples(): yield 3", "samples"),
        ("def samples(): yield {'x': 'text'}", "x"),
        ("def samples(): return iter(())", "no samples"),
        ("def samples():\n    yield {}\n    raise RuntimeError('disk on fire')", "x"),
        ("samples = 3", "has no function samples"),
    ],
)
def test_functions_that_give_no_samples(quantize, tmp_path: Path, monkeypatch, source, words) -> None:
    name = f"calibration_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    check(quantize, f"{name}:samples", words)


def test_a_module_that_is_not_there(quantize) -> None:
    check(quantize, "no_such_module_at_all:samples", "no_such_module_at_all")
