"""The recipes' own Python environment: torch and its like stay out of npuopt's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

from tools.models.failure import ModelError, last_lines

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_SECONDS = 3600


def environment_python(folder: Path, requirements: Path) -> Path:
    """Return the interpreter of the environment in `folder`, made anew unless it holds exactly `requirements`.

    The stamp inside is written last, so an environment whose making was interrupted is made anew too.

    Raises:
        ModelError: when the environment cannot be made or its packages not be installed.
    """
    stamp = folder / "made-from.txt"
    wanted = f"Python {sys.version}\n{requirements.read_text(encoding='utf-8')}"
    python = folder / "bin" / "python"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError:
        raise ModelError("Python cannot make virtual environments; on Debian: apt install python3-venv") from None
    # most of torch's and transformers' modules are never imported here: Python compiles the others when they are
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    command = [str(python), "-m", "pip", "install", *options, "-r", str(requirements)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"pip was not done with {requirements.name} after {INSTALL_SECONDS} seconds") from None
    if run.returncode:
        raise ModelError(f"pip could not install {requirements.name}: {last_lines(run.stderr)}")
    stamp.write_text(wanted, encoding="utf-8")
    return python
