"""ONNX ops in torch, so that gradients can flow through a graph: one function per op, by op type.

Each takes the node (for its attributes) and its inputs, None where one is left out, and returns its output or outputs.
They follow opset 24, to which every model is brought when it is loaded.
"""

from npuopt.tuning.operators.attention import ATTENTION
from npuopt.tuning.operators.elementwise import ELEMENTWISE
from npuopt.tuning.operators.movement import MOVEMENT
from npuopt.tuning.operators.products import PRODUCTS
from npuopt.tuning.operators.reductions import REDUCTIONS

OPERATORS = {**ATTENTION, **ELEMENTWISE, **MOVEMENT, **PRODUCTS, **REDUCTIONS}

__all__ = ["OPERATORS"]
