"""The standard order of passes, as names. Which pass comes when is decided here and nowhere else."""

from __future__ import annotations

CLEAN = (
    "fold-functions",
    "fold-constant-if",
    "fold-loops",
    "fold-shapes",
    "drop-identities",
    "drop-neutral-operands",
    "fold-empty-values",
    "fold-constants",
    "fold-consecutive-casts",
    "fold-unit-transposes",
    "fold-common-subexpressions",
    "fold-duplicate-initializers",
    "drop-unused-nodes",
)
"""Run until nothing changes: ahead of fusions, and after everything that leaves work behind.

Shapes come ahead of identities, which are known by them.
"""

TRANSPOSES_KEPT = tuple(name for name in CLEAN if name != "fold-unit-transposes")
"""What runs in its place ahead of fusions and layout, which look for the Transposes; the whole of it comes behind."""

FREEZE = ("insert-sequence-mask", "freeze-dims", "drop-empty-inputs")
"""Run once, when dims are given."""

FREEZE_DECODER = (
    "insert-source-inputs",
    "insert-token-choice",
    "insert-position-inputs",
    "freeze-key-value-cache",
    "split-embedding",
)
"""Run once on a recognised decoder, by the road of language models: they are told what it is."""

FUSE = (
    "fuse-mean",
    "fuse-reduction-reshape",
    "fuse-batch-normalization",
    "fuse-pad",
    "fuse-conv-scale",
    "fuse-conv-bias",
    "fuse-group-normalization",
    "fuse-instance-normalization",
    "fuse-layer-normalization",
    "fuse-rms-normalization",
    "fuse-gelu",
    "fuse-hard-sigmoid",
    "fuse-hard-swish",
    "fuse-swish",
    "fuse-mish",
    "fuse-gate",
    "fuse-leaky-relu",
    "fuse-prelu",
    "fuse-l2-normalization",
    "fuse-softmax",
    "fuse-depth-to-space",
    "fuse-space-to-depth",
    "fuse-slices-into-space-to-depth",
    "fuse-flattened-transpose",
    "fuse-attention-einsum",
    "fuse-attention",
    "fuse-rotary-embedding",
    "fuse-key-value-cache",
    "fuse-transposed-weight",
    "fuse-matmul-add",
    "fuse-conv-input-affine",
    "fuse-consecutive-scales",
    "fuse-scalar-scale",
    "fuse-expanded-heads",
    "fuse-consecutive-slices",
    "fuse-slices-into-split",
    "fuse-consecutive-concats",
    "fuse-dequantize-quantize",
    "fuse-consecutive-transposes",
    "fuse-reduced-transpose",
    "fuse-consecutive-reshapes",
)
"""Run until nothing changes: raise what exporters spelled out to standard ops.

Activations come ahead of what folds scales, which would otherwise take the constants that an activation is known by.
"""

RAISED = {
    "fuse-transposed-weight": "Gemm",
    "fuse-mean": "ReduceMean",
    "fuse-attention-einsum": "Attention",
    "fuse-attention": "Attention",
    "fuse-key-value-cache": "Attention",
    "fuse-rotary-embedding": "RotaryEmbedding",
    "fuse-leaky-relu": "LeakyRelu",
    "fuse-prelu": "PRelu",
    "fuse-group-normalization": "GroupNormalization",
    "fuse-instance-normalization": "InstanceNormalization",
    "fuse-l2-normalization": "LpNormalization",
    "fuse-softmax": "Softmax",
    "fuse-depth-to-space": "DepthToSpace",
    "fuse-space-to-depth": "SpaceToDepth",
    "fuse-slices-into-space-to-depth": "SpaceToDepth",
    "fuse-slices-into-split": "Split",
}
"""Fusions that are left out for a target which does not take what they make: lowering gives back another graph."""

LAYOUT = ("move-transposes", "fuse-reshaped-transpose")
"""Run once all fusions are done, which know the axes as exporters write them.

Transposes find their place first: blocks of axes can no longer be told apart.
"""

MOVE = ("move-slices", "move-splits")
"""Run with LAYOUT. The others of the group are for models that need them, on request."""

LEGALIZED = ("fuse-conv-row-bias",)
"""Run after legalization, until nothing changes: what the new forms allow."""

BEFORE_CALIBRATION = ("lower-mask-constants",)
"""Run once, when the scheme is an integer one: what would ruin the ranges that calibration sees."""

UNQUANTIZE = ("lower-quantized-operators", "lower-quantized-arithmetic", "lower-quantized-gemm")
"""Run once on a model that comes quantized: operators on integers become QuantizeLinear and DequantizeLinear."""

APPROXIMATE = frozenset(
    {
        *BEFORE_CALIBRATION,
        "drop-quantize-dequantize",
        "insert-clips",
        "insert-quantize-dequantize",
        "insert-weight-dequantize",
        "insert-dynamic-quantization",
        "lower-float-precision",
    }
)
"""Passes that change numbers by design, so that `--verify each` does not compare them."""
