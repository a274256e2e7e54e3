"""A made-up chip that computes in integers, with one op for each kind of wish a descriptor can express."""

from npuopt.target import Target, parse_target

HEAD = """
name: test/integer-chip
title: A chip for tests
delegate: {road: qnn, soc_model: 1, arch: v0, vtcm_mib: 1}
schemes:
  a8w8: {activation: uint8, weight: int8, weight_axis: channel, bias: int32}
  a16w8: {activation: uint16, weight: int8, weight_axis: channel, bias: int32}
  fp16: {activation: float16}
ops:
"""

SIMPLE = ("Add", "Clip", "Mul", "Neg", "Relu", "Sub", "Tanh", "Where")
MOVING = ("Concat", "Expand", "Gather", "Reshape", "Transpose")


def integer_chip(
    *,
    free_joins: bool = False,
    rounds_floats: bool = False,
    least_output_db: float | None = None,
    wide_outputs_below_db: float | None = None,
) -> Target:
    """Return the chip; with free joins it takes a Concat whose inputs have encodings of their own.

    Where it rounds floats, its float scheme takes tensors of 32 bits. Its 8 bits leave outputs at least
    `least_output_db`, where that is said, and `wide_outputs_below_db` is said of them too.
    """
    ops = [_op(name) for name in SIMPLE]
    ops += [_op(name, "" if free_joins and name == "Concat" else "share: true") for name in MOVING]
    ops += [
        _op("Conv", "weights: [1], bias: 2, weight_types: {a16w8: [int16]}"),
        _op("ConvTranspose", "weights: [1], bias: 2"),
        _op("Gemm", "weights: [1], bias: 2"),
        _op("MatMul", "weights: [1], inputs: {1: {a16w8: uint8}}"),
        _op("LayerNormalization", "weights: [1], bias: 2, weight: uint8, weight_axis: tensor, weight_symmetric: false"),
        _op("Softmax", _unit_outputs()),
        _op("Sigmoid", _unit_outputs()),
        _op("Exp", "float: true"),
        "  Log: {schemes: [fp16]}",
    ]
    floats = "float16, tensors: [float32, float16]" if rounds_floats else "float16"
    head = HEAD.replace("activation: float16", f"activation: {floats}")
    bounds = {"least_output_db": least_output_db, "wide_outputs_below_db": wide_outputs_below_db}
    for name, bound in bounds.items():
        if bound is not None:
            head = head.replace("{activation: uint8,", f"{{activation: uint8, {name}: {bound},")
    return parse_target(head + "\n".join(ops))


def _op(name: str, quantization: str = "") -> str:
    dtypes = "dtypes: {inputs: {all: [int64, bool]}, outputs: {all: [int64, bool]}}"
    return f"  {name}: {{schemes: [a8w8, a16w8, fp16], {dtypes}, quantization: {{{quantization}}}}}"


def _unit_outputs() -> str:
    return "output: {a8w8: {scale: 0.00390625, zero_point: 0}, a16w8: {scale: 0.0000152587890625, zero_point: 0}}"
