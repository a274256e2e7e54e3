"""Which steps there are, in the order in which they run, and which a scheme gets unasked."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from npuopt.errors import UsageError
from npuopt.quantization.steps.activations import WidenActivations
from npuopt.quantization.steps.channels import EqualizeLayers, ScaleWeights, SmoothActivations
from npuopt.quantization.steps.contract import FloatStep, IntegerStep, Step
from npuopt.quantization.steps.finer_forms import LowerGeluToSigmoid, LowerHardSwishToClip, ScaleNormalizedRows
from npuopt.quantization.steps.outliers import SplitOutlierChannels
from npuopt.quantization.steps.products import EqualizeProducts
from npuopt.quantization.steps.remainders import SplitProducts
from npuopt.quantization.steps.rotation import RotateResiduals
from npuopt.quantization.steps.running_sums import FloatRunningSums, ScaleRunningSums
from npuopt.quantization.steps.weights import CorrectBiases, LearnRounding, RoundWeights, WidenWeights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from npuopt.target.schema import Scheme

STEPS: tuple[type[Step], ...] = (
    RotateResiduals,
    ScaleNormalizedRows,
    LowerGeluToSigmoid,
    LowerHardSwishToClip,
    ScaleRunningSums,
    EqualizeLayers,
    ScaleWeights,
    SmoothActivations,
    SplitOutlierChannels,
    EqualizeProducts,
    SplitProducts,
    WidenActivations,
    FloatRunningSums,
    CorrectBiases,
    RoundWeights,
    LearnRounding,
    WidenWeights,
)
"""Every step, in the order in which they run: those that rewrite the float model first."""

EVERYWHERE = (
    ScaleNormalizedRows,
    LowerGeluToSigmoid,
    LowerHardSwishToClip,
    ScaleRunningSums,
    SmoothActivations,
    EqualizeProducts,
    SplitProducts,
    WidenActivations,
    FloatRunningSums,
    CorrectBiases,
    RoundWeights,
    WidenWeights,
)


def step_types() -> dict[str, type[Step]]:
    """Return every step by its name, in the order in which they run."""
    return {found.name: found for found in STEPS}


def standard_steps(scheme: Scheme) -> tuple[str, ...]:
    """Return the names of the steps that a scheme gets unless asked otherwise: those that measurement speaks for."""
    return () if scheme.is_float8 else tuple(found.name for found in EVERYWHERE)


def make_step(name: str, options: Mapping[str, Any]) -> Step:
    """Build a step with options given as text or values.

    Raises:
        UsageError: when there is no such step or option, or a value does not fit.
    """
    known = step_types()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise UsageError(f"there is no quantization step called {name!r}", hint=hint)
    try:
        return known[name].model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            fields = ", ".join(known[name].model_fields) or "none"
            raise UsageError(f"step {name} has no option {option!r}", hint=f"its options: {fields}") from None
        raise UsageError(f"{first['input']!r} does not fit option {option!r} of step {name}: {first['msg']}") from None


def choose_steps(
    scheme: Scheme, wanted: Iterable[Step] = (), without: Iterable[str] = ()
) -> tuple[list[FloatStep], list[IntegerStep]]:
    """Return the steps to run: the standard ones with those wanted besides, and without those not wanted.

    Args:
        scheme: what the model is computed in.
        wanted: with their options, which count instead of a standard step's defaults.
        without: names.

    Raises:
        UsageError: when a name in `without` is no step's.
    """
    chosen = {name: make_step(name, {}) for name in standard_steps(scheme)}
    chosen |= {step.name: step for step in wanted}
    for name in without:
        make_step(name, {})
        chosen.pop(name, None)
    in_order = [chosen[name] for name in step_types() if name in chosen]
    return (
        [step for step in in_order if isinstance(step, FloatStep)],
        [step for step in in_order if isinstance(step, IntegerStep)],
    )
