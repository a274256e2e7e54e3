"""Which OpenVINO operations the vendor's NPU compiler reads, by its own table.

The compiler's importer has one table of operations with a parser, and its `query` answers from that table alone
(openvinotoolkit/npu_compiler, src/vpux_compiler/src/frontend/IE.cpp: getParser, isOpSupported; commit 0ccf9bf). Where
the compiler itself is at hand it is asked instead; this list is for machines without it.
"""

from __future__ import annotations

PARSED = frozenset({
    "Abs", "Acos", "Acosh", "AdaptiveAvgPool", "AdaptiveMaxPool", "Add", "Asin", "Asinh", "Assign", "Atan", "Atanh",
    "AvgPool", "BatchNormInference", "BatchToSpace", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "Broadcast", "Bucketize", "CTCGreedyDecoder", "CTCGreedyDecoderSeqLen", "Ceiling", "Clamp", "Concat",
    "Constant", "Convert", "ConvertLike", "Convolution", "ConvolutionBackpropData", "Cos", "Cosh", "CumSum", "DFT",
    "DeformableConvolution", "DeformablePSROIPooling", "DepthToSpace", "DetectionOutput", "Divide", "Elu",
    "EmbeddingBagOffsetsSum", "EmbeddingBagPackedSum", "EmbeddingSegmentsSum", "Equal", "Erf", "Exp",
    "ExperimentalDetectronROIFeatureExtractor", "ExtractImagePatches", "Eye", "FakeConvert", "FakeQuantize",
    "Floor", "FloorMod", "GRN", "GRUCell", "GRUSequence", "Gather", "GatherElements", "GatherND", "GatherTree",
    "Gelu", "Greater", "GreaterEqual", "GridSample", "GroupConvolution", "GroupConvolutionBackpropData",
    "GroupNormalization", "HSigmoid", "HSwish", "HardSigmoid", "I420toBGR", "I420toRGB", "IDFT", "IRDFT",
    "Identity", "If", "Interpolate", "Inverse", "LRN", "LSTMCell", "LSTMSequence", "Less", "LessEqual", "Log",
    "LogSoftmax", "LogicalAnd", "LogicalNot", "LogicalOr", "LogicalXor", "Loop", "MVN", "MatMul", "MaxPool",
    "Maximum", "Minimum", "Mish", "Mod", "Multiply", "NV12toBGR", "NV12toRGB", "Negative", "NonMaxSuppression",
    "NonMaxSuppressionIEInternal", "NonZero", "NormalizeL2", "NotEqual", "OneHot", "PRelu", "PSROIPooling", "Pad",
    "Power", "Proposal", "RDFT", "RMS", "ROIAlign", "ROIPooling", "RandomUniform", "Range", "ReadValue", "ReduceL1",
    "ReduceL2", "ReduceLogicalAnd", "ReduceLogicalOr", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "RegionYolo", "Relu", "ReorgYolo", "Reshape", "Reverse", "ReverseSequence", "RoPE", "Roll",
    "Round", "STFT", "ScaledDotProductAttention", "ScatterElementsUpdate", "ScatterNDUpdate", "ScatterUpdate",
    "Select", "Selu", "ShapeOf", "ShuffleChannels", "Sigmoid", "Sign", "Sin", "Sinh", "SoftPlus", "Softmax",
    "SpaceToBatch", "SpaceToDepth", "Split", "Sqrt", "SquaredDifference", "Squeeze", "StridedSlice", "Subtract",
    "Swish", "Tan", "Tanh", "TensorIterator", "Tile", "TopK", "Transpose", "Unsqueeze", "VariadicSplit",
})  # fmt: skip
"""Operations with a parser."""
REWRITTEN = frozenset({"Einsum", "Slice"})
"""Operations that the compiler rewrites into parsed ones before it imports (passes included in the same file)."""

LARGEST_RANK = 5
"""Most dimensions of a tensor (STATIC_RANK_MAX_DIMS in the same file)."""


def refusal(operation: str) -> str:
    """Say why the NPU compiler does not read an OpenVINO operation, or return an empty string."""
    if operation in PARSED or operation in REWRITTEN:
        return ""
    return f"the NPU compiler's importer has no parser for {operation}"
