"""What is known of a toolchain before it is installed: one TOML file, one list of packages, one doctor's worker."""

from __future__ import annotations

import hashlib
import platform
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from npuopt.errors import ToolchainMissingError, UsageError

HERE = Path(__file__).parent
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}
"""What some systems call the processors that the others call by the name on the right."""


@dataclass(frozen=True)
class Definition:
    """A toolchain that can be installed.

    Attributes:
        name: as in `npuopt toolchain install NAME`.
        title: what it is, for people.
        packages: the packages whose versions tell the tool's version, the one that matters first.
        python: the version of Python that the list was resolved for.
        platforms: `system-processor`, such as `linux-x86_64`, where the tool runs.
        size_mib: disk space that it takes, measured.
        licence: its licence's name.
        proprietary: whether somebody has to accept the licence before it is installed.
        terms: what the licence says, in sentences; shown before the first install of a proprietary tool.
        folder: where the files of all definitions lie.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    python: str
    platforms: tuple[str, ...]
    size_mib: int
    licence: str
    proprietary: bool
    terms: str
    folder: Path = HERE

    @property
    def requirements(self) -> Path:
        """The pinned list of packages with the hash of every file that may be installed."""
        return self.folder / "locks" / f"{self.name}.txt"

    @property
    def doctor(self) -> Path:
        """The worker that compiles one op: JSON in, JSON out, nothing of npuopt imported."""
        return self.folder / "doctors" / f"{self.name}.py"

    @property
    def key(self) -> str:
        """Names the environment by its content: the list and the Python version, on this kind of machine."""
        content = f"{self.python}\n{this_platform()}\n{self.requirements.read_text(encoding='utf-8')}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def ensure_runs_here(self) -> None:
        """Raise ToolchainMissingError when the tool does not exist for this kind of machine."""
        if (here := this_platform()) not in self.platforms:
            what = f"the toolchain {self.name} exists for {', '.join(self.platforms)}, and this is {here}"
            raise ToolchainMissingError(what, hint="use such a machine or container")


def this_platform() -> str:
    """Return this system and processor in the words of a definition."""
    machine = platform.machine()
    return f"{sys.platform}-{MACHINES.get(machine, machine)}"


def read_definition(path: Path) -> Definition:
    """Read one definition; its list and worker lie in `locks` and `doctors` beside the file's own folder."""
    facts = tomllib.loads(path.read_text(encoding="utf-8"))
    return Definition(
        name=path.stem,
        title=facts["title"],
        packages=tuple(facts["packages"]),
        python=facts["python"],
        platforms=tuple(facts["platforms"]),
        size_mib=facts["size_mib"],
        licence=facts["licence"],
        proprietary=facts["proprietary"],
        terms=" ".join(facts.get("terms", "").split()),
        folder=path.parent.parent,
    )


def definitions(folder: Path | None = None) -> dict[str, Definition]:
    """Return every toolchain by name, in alphabetical order."""
    return {path.stem: read_definition(path) for path in sorted(((folder or HERE) / "definitions").glob("*.toml"))}


def find_definition(name: str) -> Definition:
    """Return the toolchain of that name.

    Raises:
        UsageError: when there is none.
    """
    known = definitions()
    if name not in known:
        raise UsageError(f"there is no toolchain {name!r}", hint=f"known toolchains: {', '.join(known)}")
    return known[name]
