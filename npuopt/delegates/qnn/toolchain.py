"""Is the Hexagon compiler there, and under which terms?"""

from __future__ import annotations

import importlib.util
import platform
import sys

from npuopt.errors import ToolchainMissingError

OLDEST_GLIBC = (2, 35)
"""Of the manylinux tag of onnxruntime-qnn 2.7.0."""
LICENCE = (
    "onnxruntime-qnn: the provider is MIT, the Qualcomm libraries in it are proprietary (development and benchmarking "
    "allowed, no standalone redistribution, no reverse engineering); see Qualcomm_LICENSE.pdf in the package"
)
INSTALL = 'pip install "npuopt[qnn]"'


def ensure_available() -> None:
    """Check platform and packages without loading a vendor library.

    Raises:
        ToolchainMissingError: with what is needed, or the command that installs it.
    """
    if fault := platform_fault():
        raise ToolchainMissingError(f"the Hexagon compiler {fault}", hint="use such a machine or container")
    missing = [name for name in ("onnxruntime", "onnxruntime_qnn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ToolchainMissingError(f"the Hexagon compiler is not installed ({missing[0]} is missing)", hint=INSTALL)


def platform_fault() -> str:
    """Say what this machine lacks for the packaged libraries, or return an empty string."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return f"runs on x86-64 Linux only, and this is {platform.system()} on {platform.machine()}"
    name, release = platform.libc_ver()
    if name != "glibc":
        return f"needs glibc, and this system has {name or 'another C library'}"
    if tuple(int(part) for part in release.split(".")[:2]) < OLDEST_GLIBC:
        return f"needs glibc {'.'.join(map(str, OLDEST_GLIBC))} or newer, and this system has {release}"
    return ""
