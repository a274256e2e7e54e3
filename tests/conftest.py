"""Marked tests are skipped, with the command that mends it, where what they need is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest
from hypothesis import settings

settings.register_profile("npuopt", deadline=None, derandomize=True)  # a busy machine's milliseconds say nothing
settings.load_profile("npuopt")

if "PYTEST_XDIST_WORKER" in os.environ:  # workers side by side have a core each
    for library in ("OPENBLAS", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {}
    if importlib.util.find_spec("onnxruntime_qnn") is None:
        missing["qnn"] = 'NOT TESTED: the Hexagon compiler is not installed; pip install "npuopt[qnn]"'
    if shutil.which("aarch64-linux-gnu-g++") is None:
        missing["crosscompile"] = "NOT TESTED: no cross compiler; apt install g++-aarch64-linux-gnu"
    for item in items:
        for marker, reason in missing.items():
            if item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
