"""Named, optional steps that make a model lose less when it is quantized."""

from npuopt.quantization.steps.contract import (
    Applied,
    FloatStep,
    Held,
    IntegerStep,
    Rewrite,
    Step,
    StepRecord,
    Work,
)
from npuopt.quantization.steps.registry import choose_steps, make_step, standard_steps, step_types

__all__ = [
    "Applied",
    "FloatStep",
    "Held",
    "IntegerStep",
    "Rewrite",
    "Step",
    "StepRecord",
    "Work",
    "choose_steps",
    "make_step",
    "standard_steps",
    "step_types",
]
