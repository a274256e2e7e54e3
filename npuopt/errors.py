"""Every way npuopt fails, each with its exit code.

An error is one sentence: what went wrong, where, and what to do next. Tracebacks are for `--debug`.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class NpuoptError(Exception):
    """An error that a user can act on.

    Args:
        what: one sentence without its full stop.
        where: the node, tensor or `file:line:column` at fault.
        hint: what to do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        sentence = f"{self.where}: {self.what}" if self.where else self.what
        return f"{sentence}; {self.hint}" if self.hint else sentence


class InternalError(NpuoptError):
    """A pass or the runner broke its own contract."""

    exit_code = 1


class UsageError(NpuoptError):
    """The command line or an API argument is wrong."""

    exit_code = 2


class InputError(NpuoptError):
    """The model, the calibration data, a descriptor or an encodings file is bad."""

    exit_code = 3


class PlacementError(NpuoptError):
    """The target cannot take enough of the model."""

    exit_code = 4


class AccuracyError(NpuoptError):
    """The result is less accurate than what was asked for."""

    exit_code = 5


class ToolchainMissingError(NpuoptError):
    """A vendor tool or an optional extra is not installed."""

    exit_code = 6


class VendorToolError(NpuoptError):
    """A vendor tool crashed, hung, ran out of memory or refused."""

    exit_code = 7


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a full disk."""


def cannot_write(error: OSError, where: str) -> NpuoptError:
    """Return the error for an output that cannot be written: a full disk is nobody's wrong usage."""
    what = f"cannot be written: {error.strerror or error}"
    if error.errno in FULL or error.errno is None:  # numpy reports a short write without a number
        return NpuoptError(
            what, where=where, hint="nothing was kept of it; free some space, or write elsewhere with -o"
        )
    return UsageError(what, where=where)
