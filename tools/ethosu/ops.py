"""Which TFLite operators npuopt's exporter writes for an ONNX op, and what a rule says beside Vela's constraints."""

from __future__ import annotations

from dataclasses import dataclass

ANY = "rank: [1, 6]"
BROADCAST = "rank: [0, 6]"
TO_FOUR = "rank: [1, 4]"
NO_SCALARS = tuple(f"{{rank: input {place}, min: 1, if: {{variable: input {place}}}}}" for place in (0, 1))
"""Vela leaves scalars that are computed at run time to the processor: `Operation has shapeless tensor`."""
IMAGE = "rank: [4, 4]"
SHARE = "quantization: {share: true}"
SIGMOID = (
    "quantization: {output: {a8w8: {scale: 0.00390625, zero_point: -128},"
    " a16w8: {scale: 0.000030517578125, zero_point: 0}}}"
)
TANH = (
    "quantization: {output: {a8w8: {scale: 0.0078125, zero_point: 0},"
    " a16w8: {scale: 0.000030517578125, zero_point: 0}}}"
)
REDUCED = (
    "{constant: input 1}",
    "{attribute: noop_with_empty_axes, equal: 0, if: {absent: input 1}}",
    "{rank: output 0, min: 1}",
)
FITS_IN_32 = "{predicate: sums-of-signed-16-bits-fit-in-32, schemes: [a16w8], because: LiteRT adds them in 32 bits}"

MANY = "Vela takes more dimensions than these of some shapes too"
STEEP = f"{MANY}; 16 bits are a table with straight lines between numbers too far apart"
MOVED = f"{MANY}; integers beside quantized data stay with the host, which computes indices and shapes"
WINDOWS = "what ceil_mode and counted padding become in TFLite depends on the sizes"
GLOBAL = "signals, volumes and axes of 4096 were asked on one shape each"


@dataclass(frozen=True)
class Op:
    """How one ONNX op gets to the NPU.

    Attributes:
        operators: TFLite operators that the exporter writes for it; all must be taken.
        facts: further keys of the rule, as YAML.
        when: conditions that the exporter or the NPU's numbers ask for, as YAML.
        stricter: why the rule refuses some of what Vela takes.
    """

    operators: tuple[str, ...]
    facts: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    stricter: str = MANY


OPS: dict[str, Op] = {
    # Element by element.
    "Abs": Op(("ABS",), (ANY,)),
    "Add": Op(("ADD",), (BROADCAST,), NO_SCALARS),
    "Clip": Op(("RELU", "RELU6", "MAXIMUM", "MINIMUM"), (ANY,), ("{constant: input 1}", "{constant: input 2}")),
    "Div": Op(("DIV",), (BROADCAST,), NO_SCALARS),
    "Elu": Op(("ELU",), (ANY,), ("{attribute: alpha, equal: 1.0}",)),
    "Exp": Op(("EXP",), (ANY,), stricter=STEEP),
    "Gelu": Op(("GELU",), (ANY,)),
    "HardSwish": Op(("HARD_SWISH",), (ANY,)),
    "LeakyRelu": Op(("LEAKY_RELU",), (ANY,)),
    "Log": Op(("LOG",), (ANY,), stricter=STEEP),
    "Max": Op(("MAXIMUM",), (BROADCAST, SHARE), ("{count: inputs, min: 2}", "{count: inputs, max: 2}", *NO_SCALARS)),
    "Min": Op(("MINIMUM",), (BROADCAST, SHARE), ("{count: inputs, min: 2}", "{count: inputs, max: 2}", *NO_SCALARS)),
    "Mul": Op(("MUL",), (BROADCAST,), NO_SCALARS),
    "Neg": Op(("MUL",), (ANY,)),
    "Pow": Op(
        ("RSQRT",),
        (TO_FOUR,),
        ("{constant: input 1, schemes: [a8w8, a16w8]}", "{predicate: exponent-is-minus-a-half}"),
        f"{MANY}; an exponent of 2 was asked on two shapes",
    ),
    "PRelu": Op(("PRELU",), (TO_FOUR,), ("{constant: input 1, schemes: [a8w8]}",)),
    "Relu": Op(("RELU",), (ANY,)),
    "Sigmoid": Op(("LOGISTIC",), (ANY, SIGMOID)),
    "Softmax": Op(
        ("SOFTMAX",),
        (ANY, SIGMOID),
        (
            "{axis_from_end: axis, equal: -1}",
            "{dimension: input 0, axis: -1, max: 1024, schemes: [a16w8], because: exp of 16 bits ends at e^-10}",
        ),
        f"{MANY}; for other axes the exporter transposes, and the bound on rows and columns is not written",
    ),
    "Sub": Op(("SUB",), (BROADCAST,), NO_SCALARS),
    "Tanh": Op(("TANH",), (ANY, TANH)),
    # Products, convolutions, pools.
    "AveragePool": Op(
        ("AVERAGE_POOL_2D",),
        (IMAGE, SHARE),
        (
            "{attribute: dilations, equal: 1}",
            "{attribute: ceil_mode, equal: 0}",
            "{attribute: auto_pad, one_of: [NOTSET, SAME_UPPER, VALID]}",
        ),
        WINDOWS,
    ),
    "Conv": Op(
        ("CONV_2D", "DEPTHWISE_CONV_2D"),
        (IMAGE, "quantization: {weights: [1], bias: 2}"),
        ("{constant: input 1, schemes: [a8w8, a16w8]}", "{predicate: convolution-is-depthwise-or-dense}"),
        "other groups, and weights that are computed, were asked on one convolution each",
    ),
    "ConvTranspose": Op(
        ("TRANSPOSE_CONV", "SLICE"),
        (IMAGE, "quantization: {weights: [1], bias: 2}"),
        (
            "{constant: input 1, schemes: [a8w8, a16w8]}",
            "{attribute: group, equal: 1}",
            "{attribute: dilations, equal: 1}",
            "{attribute: auto_pad, one_of: [NOTSET, VALID]}",
            "{attribute: output_padding, equal: 0}",
            "{absent: attribute output_shape}",
        ),
    ),
    "Gemm": Op(
        ("FULLY_CONNECTED",),
        ("quantization: {weights: [1], bias: 2}",),
        (
            "{constant: input 1, schemes: [a8w8, a16w8]}",
            "{attribute: alpha, equal: 1.0}",
            "{attribute: beta, equal: 1.0}",
            "{attribute: transA, equal: 0}",
            "{rank: input 2, min: 1, max: 1, schemes: [a8w8, a16w8]}",
        ),
        "a C that is no vector of biases becomes an addition",
    ),
    "GlobalAveragePool": Op(("MEAN",), (IMAGE,), (), GLOBAL),
    "MatMul": Op(
        ("FULLY_CONNECTED", "BATCH_MATMUL"),
        ("rank: [2, 6]", "quantization: {weights: [1]}"),
        ("{rank: input 1, min: 2, max: 5}", "{predicate: matrix-weights-or-equal-batches}"),
        f"{MANY}; batches that are broadcast, and weights with a batch, were asked on small shapes",
    ),
    "MaxPool": Op(
        ("MAX_POOL_2D", "PADV2"),
        (IMAGE, SHARE),
        ("{attribute: dilations, equal: 1}", "{attribute: ceil_mode, equal: 0}", "{absent: output 1}"),
        WINDOWS,
    ),
    "ReduceMean": Op(
        ("MEAN",),
        ("rank: [1, 3]",),
        REDUCED,
        f"{MANY}; means over the channels of images are taken when rows or columns are one",
    ),
    "ReduceMax": Op(("REDUCE_MAX",), (ANY, SHARE), REDUCED, MOVED),
    "ReduceMin": Op(("REDUCE_MIN",), (ANY, SHARE), REDUCED, MOVED),
    "ReduceSum": Op(("SUM",), (ANY,), (*REDUCED, FITS_IN_32), MOVED),
    "GlobalMaxPool": Op(("REDUCE_MAX",), (IMAGE, SHARE), (), GLOBAL),
    # Movement.
    "Concat": Op(("CONCATENATION",), (ANY, SHARE), (), f"{MOVED}; operands of other encodings are converted"),
    "Flatten": Op(("RESHAPE",), (ANY, SHARE), (), MOVED),
    "Pad": Op(
        ("PAD", "PADV2", "MIRROR_PAD"),
        (TO_FOUR, SHARE),
        (
            "{constant: input 1}",
            "{constant: input 2}",
            "{constant: input 3}",
            "{value: input 1, min: 0}",
            "{attribute: mode, one_of: [constant, reflect]}",
        ),
        MOVED,
    ),
    "Reshape": Op(("RESHAPE",), (ANY, SHARE), ("{constant: input 1}",), MOVED),
    "Resize": Op(
        ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        (IMAGE, SHARE),
        (
            "{constant: input 1}",
            "{constant: input 2}",
            "{constant: input 3}",
            "{attribute: mode, one_of: [nearest, linear]}",
            "{attribute: antialias, equal: 0}",
            "{attribute: coordinate_transformation_mode, equal: asymmetric, if: {attribute: mode, equal: nearest}}",
            "{attribute: nearest_mode, equal: floor, if: {attribute: mode, equal: nearest}}",
            "{attribute: coordinate_transformation_mode, one_of: [half_pixel, asymmetric]}",
        ),
        "TFLite's other ways to find a pixel round otherwise than ONNX",
    ),
    "Slice": Op(
        ("SLICE", "STRIDED_SLICE"),
        (ANY, SHARE),
        ("{constant: input 1}", "{constant: input 2}", "{constant: input 3}", "{constant: input 4}"),
        MOVED,
    ),
    "Split": Op(("SPLIT", "SPLIT_V"), (ANY, SHARE), ("{constant: input 1}",), MOVED),
    "Squeeze": Op(("RESHAPE",), (ANY, SHARE), ("{constant: input 1}",), MOVED),
    "Tile": Op(("TILE",), (ANY, SHARE), ("{constant: input 1}",), MOVED),
    "Transpose": Op(("TRANSPOSE", "RESHAPE"), (ANY, SHARE), (), f"{MOVED}; images in batches are taken in some orders"),
    "Unsqueeze": Op(("RESHAPE",), ("rank: [1, 5]", SHARE), ("{constant: input 1}",), MOVED),
}
"""Every ONNX op that is taken, where all its TFLite operators are."""
