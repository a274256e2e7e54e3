"""What each constraint of Vela's report means for ONNX nodes: conditions of a rule, or why every export meets it.

A sentence that is not here stops the generator: Vela asks something new, and somebody has to decide what it means.
"""

from __future__ import annotations

from collections.abc import Mapping

Meaning = str | Mapping[str, tuple[str, ...]]
"""Why it is met, or ONNX op -> conditions as YAML; other ops that become the TFLite operator meet it."""

IN_16_BITS = "schemes hold activations in 8 or 16 bits"
BY_EXPORT = "the exporter writes nothing else"
BY_QUANTIZATION = "quantization writes nothing else"
NOT_USED = "no ONNX op becomes that form"

WINDOW = ("{product: attribute kernel_shape, max: 65536}", "{attribute: kernel_shape, at: 0, max: 256}")
SLOW_STEPS = ("{attribute: strides, max: 3}",)
DOUBLING = ("{predicate: grows-by-two-four-or-eight}",)

MEANINGS: dict[str, Meaning] = {
    "32-bit feature-maps are not supported.": IN_16_BITS,
    "Amount of reduced elements cannot exceed": {
        "ReduceMean": ("{product: input 0, max: 65536}",),
        "GlobalAveragePool": ("{product: input 0, axes: [2, 3], max: 65536}",),
    },
    "Batch must be 1.": {
        "ReduceMean": ("{dimension: input 0, axis: 0, max: 1}",),
        "GlobalAveragePool": ("{dimension: input 0, axis: 0, max: 1}",),
    },
    "Bias tensors must be constant": {
        "Conv": ("{constant: input 2, schemes: [a8w8, a16w8]}",),
        "ConvTranspose": ("{constant: input 2, schemes: [a8w8, a16w8]}",),
        "Gemm": ("{constant: input 2, schemes: [a8w8, a16w8]}",),
    },
    "Bias tensors precision must be Int32 or Int64": BY_QUANTIZATION,
    "Bias values must be stored in the channel axis": BY_EXPORT,
    "Both Input quantization parameters must match OFM quantization parameters": BY_EXPORT,
    "FullyConnected weights must be on the form O,1,1,..,1,I.": BY_EXPORT,
    "IF IFM is Int32:": IN_16_BITS,
    "IF IFM is Int8 or Int16; NHWC: no shape constraints": {
        "Transpose": (
            "{dimension: input 0, max: 65536}",
            "{dimension: input 0, axis: 0, max: 1, if: {rank: input 0, min: 4}}",
            "{product: input 0, max: 65536, if: {rank: input 0, min: 5}}",  # so no dimensions put together are more
        ),
    },
    "IF Matmul or (FC with dynamic weights): IFM precision must be Int8": {
        "MatMul": ("{constant: input 1, schemes: [a16w8]}",),
    },
    "IF Matmul or (FC with dynamic weights): OFM depth": {"MatMul": ("{dimension: input 1, axis: -1, max: 65536}",)},
    "IF Matmul or (FC with dynamic weights): Reduced axis": {"MatMul": ("{dimension: input 0, axis: -1, max: 65536}",)},
    "IF NOT (IFM H == IFM W == 1) AND NOT IFM Shape == OFM Shape:": {"Resize": DOUBLING},
    "IF not (IFM H == IFM W == 1) AND not IFM Shape == OFM Shape:": {"Resize": DOUBLING},
    "IFM and OFM datatypes must match": BY_QUANTIZATION,
    "IFM and OFM shapes must match": BY_EXPORT,
    "IFM must be Int8 or Int16": IN_16_BITS,
    "IFM precision must be one of: (Int8, UInt8, Int16)": IN_16_BITS,
    "Input(s), Output and Weight tensors must have quantization parameters.": BY_QUANTIZATION,
    "Int64 bias must be smaller than": "quantization keeps biases to 32 bits",
    "Kernel constraints:; IF padding=VALID:": {"AveragePool": (*WINDOW, "{attribute: pads, equal: 0}")},
    "Kernel stride must be in the range (1,3).": {"Conv": SLOW_STEPS},
    "Parameter tensors must be constant": BY_EXPORT,
    "Params tensor must be Int32 or Int64": BY_EXPORT,
    "Quantization scale of any tensor must be positive.": BY_QUANTIZATION,
    "Reduced axis must be less than 4096": {
        "ReduceMean": ("{dimension: input 0, max: 4095}",),
        "GlobalAveragePool": ("{dimension: input 0, axis: 2, max: 4095}", "{dimension: input 0, axis: 3, max: 4095}"),
    },
    "Reduction over depth is only supported if any of h,w,c == 1": "means are taken of three axes, or of images",
    "Scale-factor must be an integer power of two.": {"Resize": DOUBLING},
    "Scale-factor:; IF align_corners:": {"Resize": DOUBLING},
    "Shape constraints:; IF PADDING=SAME:": BY_EXPORT,
    "Slice must represent a volume. Stride must be non-negative (and over W or H).": {
        "Slice": ("{value: input 4, equal: 1}",),
    },
    "Stride values WxH must be: 1x1 OR 2x2": {
        "ConvTranspose": ("{attribute: strides, max: 2}", "{predicate: strides-are-equal}"),
    },
    "Stride>3 is only supported IF (dilation = 1 AND padding = VALID)": {
        "Conv": SLOW_STEPS,
        "MaxPool": SLOW_STEPS,
        "AveragePool": SLOW_STEPS,
    },
    "Tensor dimension must be <= 8": "no tensor has more than six",
    "The product of IFM width and height must be less than 65536": {
        "Softmax": (
            "{product: input 0, axes: [-3, -2], max: 65535, if: {rank: input 0, min: 3}}",
            "{product: input 0, axes: [3, 2, 1, 0], max: 65535, if: {rank: input 0, min: 5}}",  # U85 in 8 bits: error
            "{product: input 0, axes: [4, 3, 2, 1, 0], max: 65535, if: {rank: input 0, min: 6}}",
        ),
    },
    "Weight tensors must be 8-bit precision": "the scheme holds weights in 8 bits",
    "Weigth sum constraints:": {
        "Conv": ("{product: input 1, axes: [1, 2, 3], max: 65536, because: weights of one output must not overflow}",),
        "ConvTranspose": (
            "{product: input 1, axes: [0, 2, 3], max: 65536, because: weights of one output must not overflow}",
        ),
        "Gemm": ("{dimension: input 0, axis: -1, max: 65536, because: weights of one output must not overflow}",),
        "MatMul": ("{dimension: input 0, axis: -1, max: 65536, because: weights of one output must not overflow}",),
    },
    "align_corners and half_pixel_centers are mutually exclusive.": BY_EXPORT,
    "kernel product must be less than or equal to 256*256": {"MaxPool": WINDOW},
    "num_splits must match the number of outputs.": BY_EXPORT,
}
"""The start of a sentence, nested ones joined by `; ` -> what it means."""

GENERIC = (
    "Only the first dimension of tensors can be dynamic.",
    "Feature-map dataTypes must be one of",
    "Tensors must have constant shape.",
    "Operations must have at least one IFM.",
    "Operations must have at least one OFM.",
    "Input(s), Output and Weight tensors must have quantization parameters.",
    "Quantization scale of any tensor must be positive.",
    "Per-axis quantization is not supported.",
    "64-bit feature-maps are not supported.",
    "Zero-points must be 0 for Int32",
    "IFM Zero-points must be in the range:",
    "OFM Zero-points must be in the range:",
)
"""Constraints of all operators that static shapes and activations of 8 or 16 bits meet; the start of each sentence."""


def meaning(sentence: str) -> Meaning:
    """Return what a constraint means.

    Raises:
        ValueError: nobody has decided yet.
    """
    for start, meant in MEANINGS.items():
        if sentence.startswith(start):
            return meant
    raise ValueError(f"Vela has a constraint that tools/ethosu/constraints.py does not know: {sentence}")


def ensure_generic_known(sentences: tuple[str, ...]) -> None:
    """Raise ValueError when a constraint of all operators is new."""
    for sentence in sentences:
        if not sentence.startswith(GENERIC):
            raise ValueError(f"Vela has a generic constraint that is not known: {sentence}")
