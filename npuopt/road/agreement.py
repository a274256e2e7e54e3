"""Whether what was made agrees with what it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import AccuracyError
from npuopt.partition.storage import bits
from npuopt.road.float_mixing import float_scheme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from npuopt.bundle import Stage
    from npuopt.target import Target

DOUBTFUL = 0.99
"""A cosine below which an output is worth a warning: its error is then a seventh of it, 17 dB below the signal."""

MORE_EXACTLY = "`npuopt sensitivity` ranks the layers; `--keep` and `--max-drop` compute some more exactly"
"""What to do about outputs that quantization moves too far."""

WANTED_DB = 30.0
"""Signal to noise of an output below which a way to a more exact model is named."""


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


def advice(quantized: Stage | None, target: Target, scheme: str, *, chosen: bool) -> list[str]:
    """Say what to do about outputs that quantization has moved too far, if there are any.

    Args:
        quantized: how the quantized model compares with the float one; None where that was not looked at.
        target: the chip.
        scheme: of the model.
        chosen: a search or given encodings have said how each node is computed.
    """
    known = [] if quantized is None else [(item.sqnr_db, name) for name, item in quantized.outputs.items()]
    lowest, output = min(((db, name) for db, name in known if db is not None), default=(WANTED_DB, ""))
    if lowest >= WANTED_DB:
        return []
    found = f"{output} is {lowest:.1f} dB from float in {scheme}"
    others = wider_schemes(target, scheme)
    if chosen or not others:
        return [f"{found}: {MORE_EXACTLY}"]
    mixed = " and ".join(others)
    return [f"{found}; add `--max-drop sqnr={WANTED_DB:g}` to compute in {mixed} what costs most in {scheme}"]


def wider_schemes(target: Target, scheme: str) -> list[str]:
    """List what a search would mix with an integer scheme: integers of more bits, or floats where there are none."""
    if not target.scheme(scheme).is_integer:
        return []
    widths = {name: bits(one.activation) for name, one in target.schemes.items() if one.is_integer}
    wider = [name for name, width in widths.items() if width > widths[scheme]]
    floats = float_scheme(target)
    return wider if len(set(widths.values())) > 1 or floats is None else [floats]


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
