"""Numbers: references, seeded inputs and comparisons."""

from npuopt.verify.compare import Comparison, compare, compare_runs
from npuopt.verify.each import NumbersObserver
from npuopt.verify.inputs import seeded_inputs

__all__ = ["Comparison", "NumbersObserver", "compare", "compare_runs", "seeded_inputs"]
