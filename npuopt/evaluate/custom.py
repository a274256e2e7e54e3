"""A metric of the user's own: `package.module:function`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.errors import UsageError
from npuopt.evaluate.scores import Scores
from npuopt.evaluate.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from npuopt.evaluate.tasks import Array, Reader


class CustomMetric:
    """A function that scores samples: called with the outputs [samples, ...] and the data's arrays by name.

    It returns one number for each sample, whose mean is the metric; more is better. The module is looked for where
    Python looks, and in the current folder.

    Args:
        spec: `package.module:function`.

    Raises:
        UsageError: when there is no such function.
    """

    def __init__(self, spec: str) -> None:
        module_name, colon, function_name = spec.partition(":")
        if not colon or not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
            raise UsageError(f"--metric {spec!r} is not package.module:function")
        here = str(Path.cwd())
        sys.path.insert(0, here)
        try:
            module = import_module(module_name)
        except Exception as error:
            raise UsageError(f"metric {spec} cannot be imported: {_brief(error)}") from error
        finally:
            sys.path.remove(here)
        self._spec = spec
        self._function: Any = getattr(module, function_name, None)
        if not callable(self._function):
            raise UsageError(f"metric {spec}: {module_name} has no function {function_name}")

    def task(self) -> Task:
        """Return the metric as a task."""
        return Task(self._spec, True, (), _whole, self._score)

    def _score(self, read: Sequence[Any], data: Mapping[str, Array]) -> Scores:
        """Call the function once.

        Raises:
            UsageError: when it raises, or does not return a finite number for each sample.
        """
        outputs = np.stack(read)
        try:
            found = np.asarray(self._function(outputs, dict(data)), np.float64)
        except Exception as error:
            raise UsageError(f"metric {self._spec} raised {_brief(error)}") from error
        if found.shape != (len(read),) or not np.isfinite(found).all():
            raise UsageError(
                f"metric {self._spec} returned {list(found.shape)} numbers for {len(read)} samples, or not all finite",
                hint="return one finite number for each sample",
            )

        def value(chosen: NDArray[np.intp]) -> float:
            return float(found[chosen].mean())

        return Scores(len(read), value)


def _whole(data: Mapping[str, Array]) -> Reader:
    del data
    return lambda output, index, sample: output[0] if output.shape[:1] == (1,) else output


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
