"""Samples from code: a function of the user's, or a reader made for ONNX Runtime's own tools."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np

    Sample = Mapping[str, np.ndarray]

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def looks_like_function(spec: str) -> bool:
    """Say whether `spec` is written as `package.module:function`."""
    return _FUNCTION.fullmatch(spec) is not None


def load_function(spec: str) -> Callable[..., object]:
    """Return what `package.module:function` names; the module is looked for where Python looks, and in this folder.

    Raises:
        InputError: when the module cannot be imported or has no such function.
    """
    module_name, function_name = spec.split(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = import_module(module_name)
    except Exception as error:
        raise InputError(f"the module cannot be imported: {_brief(error)}", where=spec) from error
    finally:
        sys.path.remove(here)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"{module_name} has no function {function_name}", where=spec)
    return function


class FunctionSource:
    """Samples from `package.module:function`, called without arguments each time the samples are read."""

    count: int | None = None
    names: frozenset[str] | None = None

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self._function = load_function(spec)

    def __iter__(self) -> Iterator[Sample]:
        """Call the function and yield what it yields."""
        try:
            produced = self._function()
            iterator = iter(cast("Iterable[Sample]", produced))
        except Exception as error:
            raise InputError(f"the function gives no samples: {_brief(error)}", where=self.spec) from error
        yield from _guarded(iterator, self.spec)


class Reader(Protocol):
    """ONNX Runtime's CalibrationDataReader."""

    def get_next(self) -> Sample | None:
        """Return the next sample, or None after the last."""
        ...


class ReaderSource:
    """Samples from a CalibrationDataReader. Reading them a second time needs its `rewind()`."""

    count: int | None = None
    names: frozenset[str] | None = None

    def __init__(self, reader: object) -> None:
        self._reader = cast("Reader", reader)
        self._started = False

    def __iter__(self) -> Iterator[Sample]:
        """Read up to the first None, from the start."""
        name = type(self._reader).__name__
        rewind = getattr(self._reader, "rewind", None)
        if self._started and not callable(rewind):
            raise InputError("the reader can be read only once", where=name, hint="give it a rewind()")
        if self._started and callable(rewind):
            rewind()
        self._started = True
        yield from _guarded(iter(self._reader.get_next, None), name)


def _guarded(iterator: Iterator[Sample | None], where: str) -> Iterator[Sample]:
    """Yield from the user's iterator; what it raises, and what is no sample, becomes an InputError."""
    while True:
        try:
            sample = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise InputError(f"reading a sample failed: {_brief(error)}", where=where) from error
        if not isinstance(sample, dict):
            raise InputError(f"{type(sample).__name__} instead of a dict of arrays", where=where)
        yield cast("Sample", sample)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
