"""Versions of TFLite operators: the oldest that knows the types in use, so that older runtimes load what they can run.

From `op_version.cc` of LiteRT, as far as what this exporter writes is concerned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSIONS: dict[str, dict[str, int]] = {
    "ADD": {"int8": 2, "int16": 3}, "AVERAGE_POOL_2D": {"int8": 2, "int16": 3}, "ARG_MAX": {"int8": 2},
    "ARG_MIN": {"int8": 2}, "BROADCAST_TO": dict.fromkeys(("bool", "float32", "int16", "int32", "int64", "int8"), 2),
    "BATCH_MATMUL": {"int8": 2, "int16": 3}, "CONCATENATION": {"int8": 2, "int16": 3},
    "CONV_2D": {"int8": 3, "int16": 4, "hybrid": 5, "int4": 7},
    "DEPTHWISE_CONV_2D": {"float32": 2, "int8": 3, "int16": 5, "hybrid": 6, "int4": 7},
    "DEQUANTIZE": {"float16": 3, "int8": 2, "int16": 3, "int4": 6},
    "EQUAL": {"int8": 2}, "EXP": {"int8": 2, "int16": 2},
    "FULLY_CONNECTED": {"float32": 1, "int8": 4, "int16": 7, "hybrid": 9, "int4": 10},
    "GATHER": {"int8": 2, "int16": 4}, "GELU": {"int8": 2}, "GREATER": {"int8": 2}, "GREATER_EQUAL": {"int8": 2},
    "LEAKY_RELU": {"int8": 2, "int16": 2}, "LESS": {"int8": 2}, "LESS_EQUAL": {"int8": 2}, "LOG": {"int8": 2},
    "LOGISTIC": {"int8": 2, "int16": 3}, "MAXIMUM": {"int8": 2, "int16": 4}, "MAX_POOL_2D": {"int8": 2, "int16": 3},
    "MEAN": {"int8": 2, "int16": 3}, "MINIMUM": {"int8": 2, "int16": 4}, "MIRROR_PAD": {"int8": 2, "int16": 3},
    "MUL": {"int8": 2, "int16": 4}, "NOT_EQUAL": {"int8": 2}, "PAD": {"int8": 2, "int16": 3},
    "PADV2": {"int8": 2, "int16": 2}, "PRELU": {}, "QUANTIZE": {"int8": 2, "int16": 3},
    "REDUCE_MAX": {"int8": 2, "int16": 3}, "REDUCE_MIN": {"int8": 2, "int16": 3}, "RELU": {"int8": 2, "int16": 3},
    "RELU6": {"int8": 2, "int16": 3}, "RESIZE_BILINEAR": {"int8": 2, "int16": 4},
    "RESIZE_NEAREST_NEIGHBOR": {"int8": 2, "int16": 4}, "RSQRT": {"int8": 2, "int16": 3},
    "SELECT_V2": {}, "SOFTMAX": {"int8": 2, "int16": 3}, "SPLIT": {"int8": 2, "int16": 4}, "SPLIT_V": {"int8": 2},
    "STRIDED_SLICE": {"int8": 2, "int16": 4}, "SUB": {"int8": 2, "int16": 5}, "SUM": {"int8": 2, "int16": 2},
    "SQUARED_DIFFERENCE": {"int8": 2}, "TANH": {"int8": 2, "int16": 3}, "TRANSPOSE": {"int8": 2, "int16": 4},
    "TRANSPOSE_CONV": {"float32": 3, "int8": 3, "int16": 4},
}  # fmt: skip
"""Operator -> element type (or `hybrid`, `int4`: of the weights) -> version; 1 where nothing is said."""


OPTIONS = {
    ("FULLY_CONNECTED", "keepNumDims"): 5,
    ("RESIZE_BILINEAR", "halfPixelCenters"): 3,
    ("RESIZE_NEAREST_NEIGHBOR", "halfPixelCenters"): 3,
    ("RESIZE_NEAREST_NEIGHBOR", "alignCorners"): 3,
}
"""Operator and option -> the version that knows the option when it is set."""


def version(name: str, kind: str, options: Mapping[str, object]) -> int:
    """Return the version of an operator for an element type and its options."""
    asked = [number for (operator, option), number in OPTIONS.items() if operator == name and options.get(option)]
    return max(VERSIONS.get(name, {}).get(kind, 1), *asked, 1)
