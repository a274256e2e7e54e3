"""Tells how far a task has come, and how long it will take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.road.options import Say

TIMED = 2
"""Samples after which the time left is told: the first one opens sessions."""


def timed(say: Say) -> Callable[[str, int, int | None], None]:
    """Return a function that tells how far a task has come, and how long it takes to its end at the rate so far."""
    started: dict[str, tuple[float, int]] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        first, before = started.setdefault(what, (now, done))
        text = f"{what}: sample {done}" + (f" of {total}" if total else "")
        if total and done - before >= TIMED:
            text += f", {_duration((now - first) / (done - before) * (total - done))} left"
        say(text)

    return tell


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"
