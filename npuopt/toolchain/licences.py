"""Whose licence has been accepted: asked once for each wording, remembered beside the environments."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from npuopt.errors import UsageError, cannot_write
from npuopt.toolchain.location import toolchains_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from npuopt.toolchain.definition import Definition


def notice(definition: Definition) -> str:
    """Return what somebody accepts."""
    return f"{definition.title}\nLicence: {definition.licence}\n{definition.terms}"


def is_accepted(definition: Definition) -> bool:
    """Say whether these very words have been accepted on this machine, or need not be."""
    return not definition.proprietary or _record(definition).is_file()


def ensure_accepted(definition: Definition, accept: Callable[[Definition], bool]) -> None:
    """Let somebody accept the licence of a proprietary tool, and record what was shown and when.

    Raises:
        UsageError: it was not accepted.
    """
    if is_accepted(definition):
        return
    name = definition.name
    if not accept(definition):
        hint = f"npuopt toolchain install {name} --accept-licence {name}"
        raise UsageError(f"the licence of {definition.title} was not accepted", hint=hint)
    record = _record(definition)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(f"accepted {when}\n\n{notice(definition)}\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(error, str(record)) from error


def _record(definition: Definition) -> Path:
    digest = hashlib.sha256(notice(definition).encode()).hexdigest()[:16]
    return toolchains_folder() / "licences" / f"{definition.name}-{digest}.txt"
