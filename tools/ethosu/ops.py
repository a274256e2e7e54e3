"""Which TFLite operators npuopt's exporter writes for an ONNX op, and what a rule says beside Vela's constraints."""

from __future__ import annotations

from dataclasses import dataclass

ANY = "rank: [1, 4]"
IMAGE = "rank: [4, 4]"
SHARE = "quantization: {share: true}"
SIGMOID = "quantization: {output: {a8w8: {scale: 0.00390625, zero_point: -128}}}"
TANH = "quantization: {output: {a8w8: {scale: 0.0078125, zero_point: 0}}}"


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
    stricter: str = ""


OPS: dict[str, Op] = {
    # Element by element.
    "Abs": Op(("ABS",), (ANY,)),
    "Add": Op(("ADD",), ("rank: [0, 4]",)),
    "Clip": Op(("RELU", "RELU6", "MAXIMUM", "MINIMUM"), (ANY,), ("{constant: input 1}", "{constant: input 2}")),
    "Div": Op(("DIV",), ("rank: [0, 4]",)),
    "Elu": Op(("ELU",), (ANY,), ("{attribute: alpha, equal: 1.0}",)),
    "Exp": Op(("EXP",), (ANY,)),
    "Gelu": Op(("GELU",), (ANY,)),
    "HardSwish": Op(("HARD_SWISH",), (ANY,)),
    "LeakyRelu": Op(("LEAKY_RELU",), (ANY,)),
    "Log": Op(("LOG",), (ANY,)),
    "Max": Op(("MAXIMUM",), ("rank: [0, 4]", SHARE), ("{count: inputs, min: 2}", "{count: inputs, max: 2}")),
    "Min": Op(("MINIMUM",), ("rank: [0, 4]", SHARE), ("{count: inputs, min: 2}", "{count: inputs, max: 2}")),
    "Mul": Op(("MUL",), ("rank: [0, 4]",)),
    "Neg": Op(("MUL",), (ANY,)),
    "Pow": Op(("RSQRT",), (ANY,), ("{constant: input 1, schemes: [a8w8]}", "{predicate: exponent-is-minus-a-half}")),
    "PRelu": Op(("PRELU",), (ANY,), ("{constant: input 1, schemes: [a8w8]}",)),
    "Relu": Op(("RELU",), (ANY,)),
    "Sigmoid": Op(("LOGISTIC",), (ANY, SIGMOID)),
    "Softmax": Op(("SOFTMAX",), (ANY, SIGMOID), ("{axis_from_end: axis, equal: -1}",)),
    "Sub": Op(("SUB",), ("rank: [0, 4]",)),
    "Tanh": Op(("TANH",), (ANY, TANH)),
    # Products, convolutions, pools.
    "AveragePool": Op(
        ("AVERAGE_POOL_2D",), (IMAGE, SHARE), ("{attribute: dilations, equal: 1}", "{attribute: ceil_mode, equal: 0}")
    ),
    "Conv": Op(
        ("CONV_2D", "DEPTHWISE_CONV_2D"),
        (IMAGE, "quantization: {weights: [1], bias: 2}"),
        ("{constant: input 1, schemes: [a8w8]}", "{predicate: convolution-is-depthwise-or-dense}"),
    ),
    "ConvTranspose": Op(
        ("TRANSPOSE_CONV", "SLICE"),
        (IMAGE, "quantization: {weights: [1], bias: 2}"),
        (
            "{constant: input 1, schemes: [a8w8]}",
            "{attribute: group, equal: 1}",
            "{attribute: dilations, equal: 1}",
            "{attribute: auto_pad, equal: NOTSET}",
            "{attribute: output_padding, equal: 0}",
            "{absent: attribute output_shape}",
        ),
    ),
    "Gemm": Op(
        ("FULLY_CONNECTED",),
        ("quantization: {weights: [1], bias: 2}",),
        (
            "{constant: input 1, schemes: [a8w8]}",
            "{attribute: alpha, equal: 1.0}",
            "{attribute: beta, equal: 1.0}",
            "{attribute: transA, equal: 0}",
            "{rank: input 2, min: 1, max: 1, schemes: [a8w8]}",
        ),
    ),
    "GlobalAveragePool": Op(("MEAN",), (IMAGE,)),
    "MatMul": Op(
        ("FULLY_CONNECTED", "BATCH_MATMUL"),
        ("rank: [2, 4]", "quantization: {weights: [1]}"),
        ("{rank: input 1, min: 2, max: 4}", "{predicate: matrix-weights-or-equal-batches}"),
    ),
    "MaxPool": Op(
        ("MAX_POOL_2D", "PADV2"),
        (IMAGE, SHARE),
        ("{attribute: dilations, equal: 1}", "{attribute: ceil_mode, equal: 0}", "{absent: output 1}"),
    ),
    "ReduceMean": Op(
        ("MEAN",),
        ("rank: [1, 3]",),
        ("{constant: input 1}", "{attribute: noop_with_empty_axes, equal: 0, if: {absent: input 1}}"),
        "means over the channels of images are taken when rows or columns are one",
    ),
    # Movement.
    "Concat": Op(("CONCATENATION",), (ANY, SHARE)),
    "Flatten": Op(("RESHAPE",), (ANY, SHARE)),
    "Pad": Op(
        ("PAD", "PADV2", "MIRROR_PAD"),
        (ANY, SHARE),
        (
            "{constant: input 1}",
            "{constant: input 2}",
            "{constant: input 3}",
            "{value: input 1, min: 0}",
            "{attribute: mode, one_of: [constant, reflect]}",
        ),
    ),
    "Reshape": Op(("RESHAPE",), (ANY, SHARE), ("{constant: input 1}",)),
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
    ),
    "Split": Op(("SPLIT", "SPLIT_V"), (ANY, SHARE), ("{constant: input 1}",)),
    "Squeeze": Op(("RESHAPE",), (ANY, SHARE), ("{constant: input 1}",)),
    "Tile": Op(("TILE",), (ANY, SHARE), ("{constant: input 1}",)),
    "Transpose": Op(("TRANSPOSE", "RESHAPE"), (ANY, SHARE)),
    "Unsqueeze": Op(("RESHAPE",), ("rank: [0, 3]", SHARE), ("{constant: input 1}",)),
}
"""Every ONNX op that is taken, where all its TFLite operators are."""
