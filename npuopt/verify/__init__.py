"""Numbers: references, seeded inputs and comparisons."""

from npuopt.graph.seeded import seeded_inputs
from npuopt.verify.compare import Comparison, compare, compare_runs
from npuopt.verify.each import NumbersObserver

__all__ = ["Comparison", "NumbersObserver", "compare", "compare_runs", "seeded_inputs"]
