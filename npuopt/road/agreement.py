"""Whether what was made agrees with what it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import AccuracyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from npuopt.bundle import Stage

DOUBTFUL = 0.99
"""A cosine below which an output is worth a warning: its error is then a seventh of it, 17 dB below the signal."""

MORE_EXACTLY = "`npuopt sensitivity` ranks the layers; `--keep` and `--max-drop` compute some more exactly"
"""What to do about outputs that quantization moves too far."""


def disagreements(stages: Sequence[Stage], least: float = DOUBTFUL) -> list[str]:
    """Say which outputs' cosine with what they are compared with is below `least`, or is not a number."""
    return [
        f"{output}, {stage.name} against {stage.against}: cosine "
        + ("is not a number" if item.cosine is None else f"{item.cosine:.4g}")
        for stage in stages
        if not stage.inner
        for output, item in stage.outputs.items()
        if item.cosine is None or item.cosine < least
    ]


def advice(stages: Sequence[Stage]) -> list[str]:
    """Say what to do about outputs that quantization has moved too far, if there are any."""
    return [MORE_EXACTLY] if disagreements([stage for stage in stages if stage.name == "quantized"]) else []


def require_agreement(stages: Sequence[Stage], least: float, model: Path) -> None:
    """Check that every output agrees as well as was asked for.

    Raises:
        AccuracyError: naming the first that does not.
    """
    if least and (found := disagreements(stages, least)):
        raise AccuracyError(
            f"{found[0]}, below the {least:g} asked for",
            where=str(model),
            hint=MORE_EXACTLY,
        )
