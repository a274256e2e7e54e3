"""Compiling what fits: a shorter context, or weights of fewer bits, where memory is limited and that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from npuopt.partition.storage import bits
from npuopt.road.halving import is_written_by_compile
from npuopt.road.language_model_memory import TooLargeError
from npuopt.road.preparation import choose_scheme

if TYPE_CHECKING:
    from collections.abc import Callable

    from npuopt.bundle import Manifest
    from npuopt.road.options import CompileOptions, LanguageModelOptions, Say
    from npuopt.target import Target


def compile_fitting(
    attempt: Callable[[CompileOptions], Manifest],
    target: Target,
    options: CompileOptions,
    asked: LanguageModelOptions,
    *,
    say: Say,
) -> Manifest:
    """Compile, and again with less where it needs more memory than allowed and `asked.fit` says so.

    The context is shortened first, down to what the figures of the attempt leave room for; where no context fits, the
    next scheme of fewer bits is tried with the whole context. A precision that was asked for stays.

    Args:
        attempt: compiles once; raises TooLargeError.
        target: whose schemes there are.
        options: of the first attempt.
        asked: what a language model is to be compiled into.
        say: told what is being done.

    Raises:
        TooLargeError: when nothing fits, or nothing else is to be tried.
    """
    automatic = options.precision == "auto"
    while True:
        try:
            return attempt(options)
        except TooLargeError as error:
            smaller = _smaller(error, target, options, asked, automatic=automatic) if asked.fit else None
            if smaller is None:
                raise
            options = smaller
            assert options.language_model is not None  # noqa: S101 -- made from one
            say(f"{error.what}: trying {options.precision}, a context of {options.language_model.context}")


def _smaller(
    error: TooLargeError, target: Target, options: CompileOptions, asked: LanguageModelOptions, *, automatic: bool
) -> CompileOptions | None:
    """Return the options of the next attempt, or None where there is none."""
    tried = options.language_model or asked
    if error.fitting:
        context = min(error.fitting, tried.context - 1)
        return replace(options, language_model=replace(tried, context=context, chunk=min(tried.chunk, context)))
    calibrated = options.calibration is not None
    if not automatic:
        return None
    scheme = choose_scheme(target, options.precision, calibrated=calibrated)
    fewer = _of_fewer_bits(target, scheme, calibrated=calibrated)
    return None if fewer is None else replace(options, precision=fewer, language_model=asked)


def _of_fewer_bits(target: Target, scheme: str, *, calibrated: bool) -> str | None:
    """Return the scheme with the most bits of weights below those of `scheme`; of several, the widest activations."""
    found = [
        (_weight_bits(target, name), bits(target.schemes[name].activation), name)
        for name, one in target.schemes.items()
        if one.is_float or (calibrated and one.is_integer)
        if _weight_bits(target, name) < _weight_bits(target, scheme)
        if not is_written_by_compile(target, name)  # profiles are not
    ]
    return max(found, key=lambda item: item[:2])[2] if found else None


def _weight_bits(target: Target, scheme: str) -> int:
    found = target.schemes[scheme]
    return bits(found.weight or found.activation)
