"""Makes and removes environments: whole or not at all, whoever else is installing, whenever it is killed."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from npuopt.errors import NpuoptError, ToolchainMissingError, cannot_write
from npuopt.toolchain.environment import RECORD, Environment, folder_of, installed, interpreter
from npuopt.toolchain.licences import ensure_accepted
from npuopt.toolchain.location import toolchains_folder
from npuopt.toolchain.uv import INSTALL, run_uv

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from npuopt.toolchain.definition import Definition

WAIT_SECONDS = 3600.0
"""How long one install waits for another of the same toolchain."""


def install(
    definition: Definition,
    *,
    accept: Callable[[Definition], bool] = lambda _: False,
    progress: Callable[[str], None] = lambda _: None,
) -> Environment:
    """Install a toolchain, or return at once when it is installed.

    The environment is made in a temporary folder and renamed. What a killed install had fetched is in uv's own
    cache, so the next one goes on from there; its folder is removed.

    Args:
        definition: of the toolchain.
        accept: asked before the first install of a proprietary tool whether its licence is accepted.
        progress: told what is being done.

    Raises:
        UsageError: the licence was not accepted.
        ToolchainMissingError: uv or filelock is missing, the tool does not exist for this machine, or uv failed.
        NpuoptError: the disk is full.
    """
    definition.ensure_runs_here()
    name = definition.name
    ensure_accepted(definition, accept)
    with _writing(), _locked(name):
        if (found := installed(definition)) is not None:
            return found
        _ensure_space(definition)
        _remove_leftovers(name)
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-partial-", dir=toolchains_folder()))
        try:
            _fill(definition, partial, progress)
            final = folder_of(definition)
            if final.exists():  # damaged: `installed` did not know it
                final.rename(partial.with_name(f".{name}-removed-{partial.name[-8:]}"))
            partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _remove_leftovers(name)
        made = installed(definition)
    if made is None:
        raise ToolchainMissingError(f"the toolchain {name} was made and is not whole", where=str(folder_of(definition)))
    return made


def remove(name: str) -> int:
    """Remove every version of a toolchain that is installed. Returns how many bytes that freed."""
    root = toolchains_folder()
    if not root.is_dir():
        return 0
    with _writing(), _locked(name):
        folders = versions_of(name)
        freed = sum(size_of(folder) for folder in folders)
        for index, folder in enumerate(folders):
            folder.rename(root / f".{name}-removed-{index}")  # at once: nobody finds half of it
        _remove_leftovers(name)
    return freed


def versions_of(name: str) -> list[Path]:
    """Return the folders of all installed versions of a toolchain."""
    key_length = 16
    return [
        path
        for path in sorted(toolchains_folder().glob(f"{name}-*"))
        if path.is_dir() and len(path.name) == len(name) + 1 + key_length
    ]


def size_of(folder: Path) -> int:
    """Return how many bytes the files below a folder take."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _fill(definition: Definition, partial: Path, progress: Callable[[str], None]) -> None:
    """Make the environment and, last, its record."""
    name = definition.name
    progress(f"making an environment for {name} with Python {definition.python}")
    run_uv(
        ["venv", "--quiet", "--no-project", "--relocatable", "--clear", "--python", definition.python, str(partial)],
        doing=f"making an environment for {name}",
    )
    python = str(interpreter(partial))
    progress(f"installing {definition.title} (about {definition.size_mib} MiB)")
    run_uv(
        ["pip", "sync", "--quiet", "--require-hashes", "--python", python, str(definition.requirements)],
        doing=f"installing {name}",
    )
    listed = run_uv(["pip", "list", "--quiet", "--format", "json", "--python", python], doing=f"listing {name}")
    packages = cast("list[dict[str, str]]", json.loads(listed))
    versions = {package["name"]: package["version"] for package in packages}
    record = {"name": name, "versions": versions, "bytes": size_of(partial), "licence": definition.licence}
    (partial / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _locked(name: str) -> Generator[None]:
    """Hold the right to change the environments of one toolchain; the system gives it back when we are killed."""
    try:
        from filelock import FileLock, Timeout  # noqa: PLC0415 -- of the extra; only what changes something needs it
    except ImportError:
        what = "filelock, which keeps two installs apart, is not installed"
        raise ToolchainMissingError(what, hint=INSTALL) from None
    root = toolchains_folder()
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / f".{name}.lock", timeout=WAIT_SECONDS):
            yield
    except Timeout:
        what = f"another process has been changing the toolchain {name} for {WAIT_SECONDS:g} s"
        raise ToolchainMissingError(what, where=str(root), hint="wait for it or end it") from None


@contextmanager
def _writing() -> Generator[None]:
    """Turn an error of the file system into ours."""
    try:
        yield
    except OSError as error:
        raise cannot_write(error, str(error.filename or toolchains_folder())) from error


def _remove_leftovers(name: str) -> None:
    """Remove what killed installs and removals left. To be called with the lock held: nobody else is at work."""
    for folder in toolchains_folder().glob(f".{name}-*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def _ensure_space(definition: Definition) -> None:
    """Refuse early what cannot fit."""
    free = shutil.disk_usage(toolchains_folder()).free >> 20
    if free < definition.size_mib:
        what = f"the toolchain {definition.name} takes about {definition.size_mib} MiB and {free} MiB are free"
        hint = "free some space, or set NPUOPT_TOOLCHAINS to a folder elsewhere"
        raise NpuoptError(what, where=str(toolchains_folder()), hint=hint)
