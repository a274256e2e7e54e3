"""Targets: what a chip and its compiler can take, as facts with sources, and questions about them.

Reading facts is cheap; the first question (`Target.accepts`) imports onnx-ir.
"""

from npuopt.target.diagnostics import DescriptorError
from npuopt.target.loader import load_target, parse_target
from npuopt.target.locate import list_targets
from npuopt.target.schema import Descriptor, OpQuantization, OpRule, Scheme
from npuopt.target.target import Target, Verdict

__all__ = [
    "Descriptor",
    "DescriptorError",
    "OpQuantization",
    "OpRule",
    "Scheme",
    "Target",
    "Verdict",
    "list_targets",
    "load_target",
    "parse_target",
]
