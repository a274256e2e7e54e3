"""Finds what makes a shared library of TVM's object files, and calls it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING

from npuopt.errors import ToolchainMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.target.roads import TvmDelegate as Processor

LINKERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
DEBIAN_PACKAGES = {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "riscv64-linux-gnu-g++": "g++-riscv64-linux-gnu"}


class LinkError(Exception):
    """A linker failed; the text is what it printed."""


def this_architecture() -> str:
    """Return the LLVM name of this machine's architecture."""
    machine = platform.machine().lower()
    return MACHINES.get(machine, machine)


def architecture_of(triple: str) -> str:
    """Return the first part of an LLVM triple."""
    return triple.split("-", 1)[0]


def find_linker(processor: Processor) -> list[str]:
    """Return the command that makes a shared library for a processor, up to the place of the library's name.

    Taken is the target's own cross compiler, a compiler of this machine for its own kind, or the linker in the
    `ziglang` package, which links for every Linux.

    Raises:
        ToolchainMissingError: there is none; the hint names the package.
    """
    native = architecture_of(processor.triple) == this_architecture()
    candidates = [processor.cross_compiler] if processor.cross_compiler else []
    candidates += LINKERS if native else []
    for command in candidates:
        if found := shutil.which(command):
            return [found, "-shared", "-fPIC", "-o"]
    if "linux" in processor.triple and (zig := find_zig()):
        return [zig, "ld.lld", "-shared", "-o"]
    if not candidates:
        raise ToolchainMissingError(
            f"no linker for {processor.triple} is named", hint="set delegate.cross_compiler in the target"
        )
    wanted = candidates[0]
    package = DEBIAN_PACKAGES.get(wanted, "g++" if native else wanted)
    raise ToolchainMissingError(
        f"{wanted} is not installed, which links for {processor.triple}",
        hint=f"run: pip install ziglang, or on Debian and Ubuntu: apt-get install {package}",
    )


def find_zig() -> str | None:
    """Return the program in the `ziglang` package, which has LLVM's linker inside, or None."""
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if found := shutil.which("zig", path=folder):
            return found
    return None


def link(command: Sequence[str], library: str, objects: str | Sequence[str]) -> None:
    """Make a shared library.

    Raises:
        LinkError: with what the linker printed.
    """
    files = [objects] if isinstance(objects, str) else list(objects)
    done = subprocess.run([*command, library, *files], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise LinkError((done.stderr + done.stdout).strip() or f"it ended with {done.returncode}")
