"""The command line, run as a user runs it: in this process, which is quick, or in one of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING
from unittest.mock import patch

from npuopt.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping


def npuopt(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `npuopt ARGUMENTS` in this process."""
    command = ["npuopt", *map(str, arguments)]
    stdout, stderr = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", command), redirect_stdout(stdout), redirect_stderr(stderr):
        try:
            main()
            code: object = 0
        except SystemExit as ending:
            code = ending.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, stdout.getvalue(), stderr.getvalue())


def npuopt_process(
    *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `npuopt ARGUMENTS` in a process of its own."""
    command = [sys.executable, "-m", "npuopt", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one sentence on stderr, after checking that it is one and the exit code is right."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("npuopt: ")]
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    return lines[0]
