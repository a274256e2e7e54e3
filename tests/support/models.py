"""The real models that `make models` fetches and exports, for tests marked `models`."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest

from support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# tools/ is no part of the package and not on the path of every test run, so its file is read where it lies.
_LOCATION = runpy.run_path(str(ROOT / "tools" / "models" / "location.py"))


def model_folder(name: str) -> Path:
    """Return the folder of a model with model.onnx, calibration.npz and evaluation.npz; skip the test without it."""
    folder: Path = _LOCATION["models_folder"]() / name
    if not (folder / "made.json").is_file():
        pytest.skip(f"NOT TESTED: no {name} in {folder}; run `make models`")
    return folder


def exported_path(name: str) -> Path:
    """Return the model.onnx of a transformer that the benchmarks export; skip the test without it."""
    path: Path = _LOCATION["models_folder"]() / name / "model.onnx"
    if not path.is_file():
        pytest.skip(f"NOT TESTED: no {path}; run `python -m benchmarks.export_transformers`")
    return path


def model_path(name: str) -> Path:
    """Return a model's model.onnx; skip the test without it."""
    return model_folder(name) / "model.onnx"
