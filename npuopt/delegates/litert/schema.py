"""The TFLite schema: names of operators and types, and packing of a model into a flatbuffer without its weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.delegates.litert.flat import Encoding, FlatModel, FlatOperator, FlatTensor

# Neither carries types that hold; whatever of the exporter has no types is in this file.
generated: Any = import_module("ai_edge_litert.schema_py_generated")
flatbuffers: Any = import_module("flatbuffers")

FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
LARGEST_OLD_CODE = 127
"""Operator codes above this have only the 32-bit field; the old 8-bit one then holds a placeholder."""
DATA_FIELD = 4
"""Where the vtable of a Buffer holds the field `data`: behind its own two sizes of 2 bytes."""

OPTIONS = {
    "ADD": "AddOptions", "ARG_MAX": "ArgMaxOptions", "ARG_MIN": "ArgMinOptions", "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions", "CAST": "CastOptions", "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions", "CUMSUM": "CumsumOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions", "DIV": "DivOptions", "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions", "GELU": "GeluOptions", "LEAKY_RELU": "LeakyReluOptions", "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions", "MIRROR_PAD": "MirrorPadOptions", "MUL": "MulOptions", "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions", "REDUCE_PROD": "ReducerOptions", "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions", "SPACE_TO_DEPTH": "SpaceToDepthOptions", "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions", "SUB": "SubOptions", "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}  # fmt: skip
"""Operator -> its table of options; the others have none that matter."""


def pack(model: FlatModel) -> tuple[bytearray, list[int]]:
    """Pack a model whose buffers are still empty.

    Returns:
        The flatbuffer, and for every buffer of the model the place of the 32-bit offset to its data.
    """
    packed = generated.ModelT()
    packed.version = SCHEMA_VERSION
    packed.description = "npuopt"
    codes: dict[tuple[str, int], int] = {}
    operators = [_operator(operator, codes) for operator in model.operators]
    packed.operatorCodes = [_operator_code(name, version) for name, version in codes]
    # The first buffer is the one without data, to which all run-time tensors point.
    packed.buffers = [generated.BufferT(), *(generated.BufferT(data=np.zeros(0, np.uint8)) for _ in model.buffers)]
    graph = generated.SubGraphT()
    graph.name = "main"
    graph.tensors = [_tensor(tensor) for tensor in model.tensors]
    graph.operators = operators
    graph.inputs = np.array([index for _, index in model.inputs], np.int32)
    graph.outputs = np.array([index for _, index in model.outputs], np.int32)
    packed.subgraphs = [graph]
    packed.signatureDefs = [_signature(model.inputs, model.outputs)]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(packed.Pack(builder), FILE_IDENTIFIER)
    data: bytearray = builder.Output()
    return data, _data_slots(data)


def _operator(operator: FlatOperator, codes: dict[tuple[str, int], int]) -> object:
    made = generated.OperatorT()
    made.opcodeIndex = codes.setdefault((operator.name, operator.version), len(codes))
    made.inputs = np.array(operator.inputs, np.int32)
    made.outputs = np.array(operator.outputs, np.int32)
    table = OPTIONS.get(operator.name)
    if table is not None:
        options = getattr(generated, f"{table}T")()
        for name, value in operator.options.items():
            if not hasattr(options, name):
                raise AttributeError(f"{table} has no field {name}")
            setattr(options, name, value)
        made.builtinOptionsType = getattr(generated.BuiltinOptions, table)
        made.builtinOptions = options
    return made


def _operator_code(name: str, version: int) -> object:
    made = generated.OperatorCodeT()
    made.builtinCode = getattr(generated.BuiltinOperator, name)
    made.deprecatedBuiltinCode = min(made.builtinCode, LARGEST_OLD_CODE)
    made.version = version
    return made


def _tensor(tensor: FlatTensor) -> object:
    made = generated.TensorT()
    made.name = tensor.name
    made.shape = np.array(tensor.shape, np.int32)
    made.type = getattr(generated.TensorType, tensor.dtype.upper())
    made.buffer = tensor.buffer
    made.hasRank = True
    if tensor.encoding is not None:
        made.quantization = _quantization(tensor.encoding)
    return made


def _quantization(encoding: Encoding) -> object:
    made = generated.QuantizationParametersT()
    made.scale = np.asarray(encoding.scales, np.float32)
    made.zeroPoint = np.asarray(encoding.zero_points, np.int64)
    made.quantizedDimension = encoding.axis
    return made


def _signature(inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]) -> object:
    made = generated.SignatureDefT()
    made.signatureKey = "serving_default"
    made.inputs = [_named(name, index) for name, index in inputs]
    made.outputs = [_named(name, index) for name, index in outputs]
    return made


def _named(name: str, index: int) -> object:
    made = generated.TensorMapT()
    made.name = name
    made.tensorIndex = index
    return made


def _data_slots(data: bytearray) -> list[int]:
    root = generated.Model.GetRootAs(data)
    tables = [root.Buffers(index)._tab for index in range(1, root.BuffersLength())]  # noqa: SLF001 -- no other way to a slot
    return [table.Pos + table.Offset(DATA_FIELD) for table in tables]
