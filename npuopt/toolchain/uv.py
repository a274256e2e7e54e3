"""Runs uv, which makes the environments: found on PATH or as a package, bounded in time, never left behind."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

from npuopt.errors import NpuoptError, ToolchainMissingError

INSTALL = 'pip install "npuopt[toolchain]"'
SECONDS = 3600.0
FULL_DISK = ("No space left on device", "os error 28", "Disk quota exceeded")
KEPT_LINES = 6


def find_uv() -> str:
    """Return the path of uv.

    Raises:
        ToolchainMissingError: when it is neither on PATH nor installed beside npuopt.
    """
    if found := shutil.which("uv"):
        return found
    if importlib.util.find_spec("uv") is not None:
        beside = Path(sysconfig.get_path("scripts")) / ("uv.exe" if sys.platform == "win32" else "uv")
        if beside.is_file():
            return str(beside)
    raise ToolchainMissingError("uv, which makes isolated environments, is not installed", hint=INSTALL)


def run_uv(arguments: list[str], *, doing: str, seconds: float = SECONDS) -> str:
    """Run uv and return what it wrote to stdout.

    Args:
        arguments: after `uv`; the user's own settings for uv (index, cache, certificates) stay in force.
        doing: for the error: `installing vela`.
        seconds: time limit.

    Raises:
        ToolchainMissingError: uv failed or took too long.
        NpuoptError: the disk is full.
    """
    process = subprocess.Popen(
        [find_uv(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        printed, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ToolchainMissingError(
            f"{doing} took longer than {seconds:g} s and was stopped", hint="try again"
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == 0:
        return printed
    if any(sign in complaints for sign in FULL_DISK):
        raise NpuoptError(f"{doing} failed: the disk is full", hint="free some space, or set NPUOPT_TOOLCHAINS")
    raise ToolchainMissingError(f"{doing} failed: {_last_lines(complaints)}", hint="mend that and try again")


def _last_lines(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-KEPT_LINES:])[:600] or "uv said nothing"
