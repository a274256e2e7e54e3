"""What a compiled decoder takes on its device, and whether that is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.errors import PlacementError
from npuopt.partition import plan_memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.bundle import CacheTensor, LanguageModelRecord
    from npuopt.road.built import Built
    from npuopt.target import Target


class TooLargeError(PlacementError):
    """A compiled language model needs more memory than allowed.

    Attributes:
        fitting: the context that would fit; 0 for none.
    """

    fitting: int = 0


@dataclass(frozen=True)
class Memory:
    """Bytes.

    Attributes:
        weights: of all profiles, each once.
        cache: of all layers, at full context.
        cache_per_token: of the layers that look at all tokens; windows are of fixed size.
        working: the largest sum of run-time tensors that any profile needs at once, its caches included.
    """

    weights: int
    cache: int
    cache_per_token: int
    working: int

    @property
    def total(self) -> int:
        """Everything at once: the caller's caches stand beside what runs."""
        return self.weights + self.cache + self.working

    def figures(self) -> dict[str, float]:
        """Return what the manifest says."""
        return {
            "weights_bytes": float(self.weights),
            "cache_bytes": float(self.cache),
            "cache_bytes_per_token": float(self.cache_per_token),
            "working_bytes": float(self.working),
        }


def measure_memory(record: LanguageModelRecord, built: Mapping[str, Built], target: Target, scheme: str) -> Memory:
    """Return what the profiles take, as their regions are planned."""
    weights: dict[str, int] = {}
    working = 0
    for item in built.values():
        for name, value in item.prepared.model.graph.initializers.items():
            weights[name] = 0 if value.const_value is None else value.const_value.nbytes
        plans = [plan_memory(part, target, scheme) for part in item.plan.regions]
        working = max([working, *(plan.peak for plan in plans if plan is not None)])
    cache = sum(_bytes(item, item.length) for item in record.caches)
    each = sum(_bytes(item, 1) for item in record.caches if item.window is None or item.length < item.window)
    return Memory(sum(weights.values()), cache, each, working)


def require_memory(memory: Memory, allowed: int | None, record: LanguageModelRecord, model: Path) -> None:
    """Check what is needed against what is allowed.

    Raises:
        TooLargeError: with the figures, and the context that would fit.
    """
    if allowed is None or memory.total <= allowed:
        return
    room = allowed - memory.total + memory.cache_per_token * record.context_length
    fitting = room // memory.cache_per_token if memory.cache_per_token else 0
    fitting = fitting if fitting >= record.profiles[0].sequence else 0
    way_out = (
        f"--context {fitting} would fit"
        if fitting
        else ("no context fits beside the weights: hold them in fewer bits with --precision")
    )
    error = TooLargeError(
        f"needs {_text(memory.total)}, more than the {_text(allowed)} allowed: weights {_text(memory.weights)}, cache"
        f" {_text(memory.cache)} for {record.context_length} tokens, working memory {_text(memory.working)}",
        where=str(model),
        hint=way_out,
    )
    error.fitting = fitting
    raise error


def _bytes(cache: CacheTensor, places: int) -> int:
    dtype = cache.dtype if cache.held_as is None else cache.held_as.dtype
    return cache.heads * cache.size * places * np.dtype(dtype).itemsize


def _text(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
