"""A toolchain as small as they come: one wheel made here, one pinned list with its hash, nothing fetched."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

from npuopt.errors import NpuoptError
from npuopt.toolchain import Environment, find_definition
from npuopt.toolchain.definition import Definition, read_definition, this_platform
from npuopt.toolchain.installing import install


def needs_toolchain(name: str) -> Environment:
    """Return a real toolchain, installed if need be; skip where it cannot be, but not in the gate."""
    installed = _installed(name)
    if isinstance(installed, Environment):
        return installed
    if os.environ.get("CI"):
        raise installed
    pytest.skip(f"the toolchain {name} is not to be had here: {installed}")


@cache
def _installed(name: str) -> Environment | NpuoptError:
    """Install a toolchain once: where the index cannot be reached, every try waits for its time-outs."""
    try:
        return install(find_definition(name), accept=lambda _: True)
    except NpuoptError as error:
        return error


PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def tiny_wheel(folder: Path) -> Path:
    """Write a wheel with a module `tinytool` whose ANSWER is 42."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tinytool-1.0-py3-none-any.whl"
    info = "tinytool-1.0.dist-info"
    files = {
        "tinytool.py": "ANSWER = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinytool\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    return path


def tiny_toolchain(
    folder: Path, *, name: str = "tiny", doctor: str = "", proprietary: bool = False, digest: str = "", mib: int = 1
) -> Definition:
    """Write a definition whose list holds the tiny wheel, which uv finds through UV_FIND_LINKS."""
    wheel = tiny_wheel(folder / "wheels")
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    facts = {
        "title": "A tiny tool",
        "packages": ["tinytool"],
        "python": PYTHON,
        "platforms": [this_platform()],
        "size_mib": mib,
        "licence": "Tiny-1.0",
        "proprietary": proprietary,
        "terms": "Be kind.",
    }
    parts = {
        f"definitions/{name}.toml": "".join(f"{key} = {json.dumps(value)}\n" for key, value in facts.items()),
        f"locks/{name}.txt": f"tinytool==1.0 \\\n    --hash=sha256:{digest}\n",
        f"doctors/{name}.py": f"import json, os, signal, sys, time\n{doctor}\n",
    }
    for place, text in parts.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    return read_definition(folder / "definitions" / f"{name}.toml")


def offline(folder: Path) -> dict[str, str]:
    """Return the settings under which uv takes packages from the tiny toolchain in `folder` and nowhere else."""
    return {
        "NPUOPT_TOOLCHAINS": str(folder / "installed"),
        "UV_FIND_LINKS": str(folder / "wheels"),
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(folder / "uv-cache"),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
    }


def fake_uv(folder: Path, script: str) -> None:
    """Put a `uv` into `folder` that does `script` (shell) instead; put `folder` first on PATH to use it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "uv"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def with_first_on_path(folder: Path) -> str:
    """Return PATH with `folder` before everything else."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
