"""What TVM's ONNX front end takes of each operator, beyond its name: one tuple of questions an operator.

A question takes a node and returns what is at fault, or an empty string. Each stands for a node test of ONNX that
gave an error or wrong numbers without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from npuopt.graph import attribute, constant, element_type, input_at, is_constant, rank, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node

Rule: TypeAlias = Callable[["Node"], str]


def constant_inputs(*positions: int) -> Rule:
    """The inputs at these positions, where given, are known at compile time."""

    def rule(node: Node) -> str:
        for position in positions:
            value = input_at(node, position)
            if value is not None and not is_constant(value):
                return f"input {position} ({value.name!r}) is not constant"
        return ""

    return rule


def attribute_in(name: str, default: str | int, *allowed: str | int) -> Rule:
    """The attribute (or its default) has one of these values."""

    def rule(node: Node) -> str:
        found = node.attributes.get(name)
        value = default if found is None else found.value
        return "" if value in allowed else f"{name} is {value!r}; TVM is right for {', '.join(map(repr, allowed))}"

    return rule


def without_attribute(name: str) -> Rule:
    """The attribute is left out."""
    return lambda node: f"the attribute {name} is given, which TVM reads wrongly" if name in node.attributes else ""


def outputs_at_most(count: int) -> Rule:
    """No output beyond the first `count` is asked for."""

    def rule(node: Node) -> str:
        asked = [
            output for output in node.outputs[count:] if output.name and (output.uses() or output.is_graph_output())
        ]
        return f"output {asked[0].name!r} is asked for, which TVM does not compute" if asked else ""

    return rule


def same_float_inputs(node: Node) -> str:
    """All inputs have one float type."""
    kinds = {element_type(value) for value in node.inputs if value is not None}
    if len(kinds) == 1 and all(kind is not None and kind.is_floating_point() for kind in kinds):
        return ""
    return f"the inputs have the types {', '.join(sorted(map(str, kinds)))}; one float type is taken"


def no_empty_input(node: Node) -> str:
    """Nothing has a dimension of size zero."""
    empty = [value.name for value in node.inputs if value is not None and 0 in (static_shape(value) or ())]
    return f"input {empty[0]!r} is empty" if empty else ""


def not_bool(node: Node) -> str:
    """Input 0 is not of type bool."""
    kind = element_type(input_at(node, 0))
    return "input 0 is of type bool" if kind is not None and kind.name == "BOOL" else ""


def c_modulo_for_floats(node: Node) -> str:
    """Mod of floats is C's fmod: of the other kind TVM gets infinities and NaN wrong."""
    kind = element_type(input_at(node, 0))
    if kind is None or not kind.is_floating_point() or attribute(node, "fmod", 0) == 1:
        return ""
    return "fmod is 0 for floats, where TVM gets infinities wrong"


def both_infinities(node: Node) -> str:
    """IsInf asks for both signs: TVM ignores the two attributes."""
    both = attribute(node, "detect_negative", 1) and attribute(node, "detect_positive", 1)
    return "" if both else "it asks for one sign only, and TVM answers for both"


def positive_parts(node: Node) -> str:
    """No part of a Split is empty."""
    parts = constant(input_at(node, 1))
    return "" if parts is None or parts.min(initial=1) > 0 else "a part is empty"


def at_least_one_axis(node: Node) -> str:
    """Input 0 is no scalar."""
    return "" if rank(input_at(node, 0)) else "input 0 is a scalar"


def whole_ratios_for_nearest(node: Node) -> str:
    """Resize to the nearest element goes by whole ratios: TVM rounds others differently."""
    if attribute(node, "mode", "nearest") != "nearest":
        return ""
    pairs = zip(static_shape(input_at(node, 0)) or (), static_shape(node.outputs[0]) or (), strict=True)
    uneven = [(before, after) for before, after in pairs if after % before and before % after]
    return f"nearest from {uneven[0][0]} to {uneven[0][1]} is no whole ratio" if uneven else ""


def exact_scales(node: Node) -> str:
    """Resize's scales give whole sizes: TVM computes with the quotient of the sizes, not with the scale."""
    scales = constant(input_at(node, 2))
    shape = static_shape(input_at(node, 0))
    if scales is None or not scales.size or shape is None:
        return ""
    sizes = np.array(shape) * scales.astype(np.float64)
    if np.abs(sizes - np.round(sizes)).max() > 1e-3:
        return f"the scales {scales.tolist()} of the shape {list(shape)} give no whole sizes"
    return ""


def scales_or_sizes_for_every_axis(node: Node) -> str:
    """Resize of images: rank 3 to 5, batch and channels kept."""
    shape = static_shape(input_at(node, 0)) or ()
    result = static_shape(node.outputs[0]) or ()
    if 3 <= len(shape) <= 5 and shape[:2] == result[:2] and math.prod(result):
        return ""
    return f"it resizes {list(shape)} to {list(result)}; the last axes of rank 3 to 5 are taken"


def _words(text: str) -> list[str]:
    return text.split()


ELEMENTWISE = _words(
    "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Clip "
    "Concat Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsNaN "
    "LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mul Neg Not Or Reciprocal Relu Round Selu Shrink Sigmoid Sign "
    "Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor"
)
STRUCTURED = _words(
    "ArgMax ArgMin AveragePool Conv DepthToSpace Einsum Flatten Gather GatherElements GatherND Gemm GlobalAveragePool "
    "GlobalMaxPool GridSample GroupNormalization Hardmax InstanceNormalization LogSoftmax LRN MatMul "
    "MeanVarianceNormalization RMSNormalization ScatterElements ScatterND Softmax Transpose"
)
REDUCTIONS = _words(
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)
COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_QUANTIZE: tuple[Rule, ...] = (constant_inputs(1, 2), attribute_in("block_size", 0, 0))

RULES: Mapping[str, tuple[Rule, ...]] = {
    **dict.fromkeys((*ELEMENTWISE, *STRUCTURED), ()),
    **dict.fromkeys(
        REDUCTIONS, (constant_inputs(1), attribute_in("noop_with_empty_axes", 0, 0), not_bool, no_empty_input)
    ),
    "BatchNormalization": (attribute_in("training_mode", 0, 0), outputs_at_most(1)),
    "ConvTranspose": (without_attribute("output_shape"), attribute_in("auto_pad", "NOTSET", "NOTSET", "VALID")),
    "CumSum": (constant_inputs(1),),
    "DequantizeLinear": _QUANTIZE,
    "Expand": (constant_inputs(1),),
    "IsInf": (both_infinities,),
    "LayerNormalization": (outputs_at_most(1),),
    "LpPool": (attribute_in("ceil_mode", 0, 0),),
    "MaxPool": (outputs_at_most(1),),
    "Mod": (c_modulo_for_floats,),
    "Pad": (constant_inputs(1, 2, 3),),
    "Pow": (same_float_inputs,),
    "QuantizeLinear": _QUANTIZE,
    "PRelu": (at_least_one_axis,),
    "Reshape": (constant_inputs(1), no_empty_input),
    "Resize": (
        constant_inputs(1, 2, 3),
        whole_ratios_for_nearest,
        attribute_in("antialias", 0, 0),
        attribute_in("keep_aspect_ratio_policy", "stretch", "stretch"),
        attribute_in("coordinate_transformation_mode", "half_pixel", *COORDINATES),
        attribute_in("exclude_outside", 0, 0),
        without_attribute("axes"),
        exact_scales,
        scales_or_sizes_for_every_axis,
    ),
    "Slice": (constant_inputs(1, 2, 3, 4),),
    "SpaceToDepth": (attribute_in("mode", "DCR", "DCR"),),
    "Split": (constant_inputs(1), positive_parts),
    "Squeeze": (constant_inputs(1),),
    "Tile": (constant_inputs(1),),
    "TopK": (constant_inputs(1),),
    "Trilu": (constant_inputs(1),),
    "Unsqueeze": (constant_inputs(1),),
}
