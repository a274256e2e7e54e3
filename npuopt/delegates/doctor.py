"""Says whether installed toolchains work, by letting each compile one op."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.delegates.contract import Limits
from npuopt.delegates.process import run_child
from npuopt.errors import ToolchainMissingError, VendorToolError
from npuopt.toolchain import environment

if TYPE_CHECKING:
    from npuopt.toolchain import Definition

LIMITS = Limits(seconds=180.0, memory_mib=4096)
"""Of one op; the slowest tool needs ten seconds for it, most of them to load."""


@dataclass(frozen=True)
class Diagnosis:
    """How one toolchain is.

    Attributes:
        name: the toolchain's.
        installed: whether an environment made from the pinned list is there.
        version: of the tool, by its own account; empty when it did not answer.
        licence: the tool's.
        bytes: disk space that its environment takes.
        seconds: that one op took.
        fault: what is wrong; empty when all is well.
        mend: the command that mends it; empty when all is well.
    """

    name: str
    installed: bool
    version: str
    licence: str
    bytes: int
    seconds: float
    fault: str = ""
    mend: str = ""


def examine(definition: Definition, *, limits: Limits = LIMITS) -> Diagnosis:
    """Compile one op with an installed toolchain. Whatever is wrong with it is in the result, not raised."""
    name, licence = definition.name, definition.licence
    try:
        found = environment(name)
    except ToolchainMissingError as error:
        return Diagnosis(
            name, installed=False, version="", licence=licence, bytes=0, seconds=0.0, fault=error.what, mend=error.hint
        )
    with tempfile.TemporaryDirectory(prefix="npuopt-doctor-") as scratch:
        log = Path(scratch) / f"{name}.log"
        child = run_child(definition.doctor, {}, log=log, limits=limits, python=found.python)
        version = fault = mend = ""
        try:
            version = str(child.require(definition.title).get("version", ""))
        except VendorToolError as error:
            fault = str(error)
            mend = f"npuopt toolchain remove {name} && npuopt toolchain install {name}"
    return Diagnosis(
        name,
        installed=True,
        version=version,
        licence=licence,
        bytes=found.bytes,
        seconds=child.seconds,
        fault=fault,
        mend=mend,
    )
