"""Inputs that may be left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.tuning.torch_api import Tensor


def filled_up(inputs: Sequence[Tensor], count: int) -> list[Tensor]:
    """Return the first `count` inputs, None for those that are not there."""
    given: list[Tensor] = list(inputs)
    return [*given, *[None] * count][:count]
