"""Targets and small models for the Hexagon road's tests."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser

from npuopt.target import Target, parse_target

QUANTIZED = """
    <ir_version: 10, opset_import: ["" : 24]>
    quantized (float[1,4,8,8] x) => (float[1,4,8,8] y)
    <float scale = {0.03}, uint8 middle = {128}, float weight_scale = {0.01}, int8 zero = {0}>
    {
        [x_q] xq = QuantizeLinear (x, scale, middle)
        [x_dq] xd = DequantizeLinear (xq, scale, middle)
        [w_dq] wd = DequantizeLinear (w, weight_scale, zero)
        [conv] c = Conv <pads = [1, 1, 1, 1]> (xd, wd)
        [c_q] cq = QuantizeLinear (c, scale, middle)
        [c_dq] cd = DequantizeLinear (cq, scale, middle)
        [act] a = OP (cd)
        [a_q] aq = QuantizeLinear (a, scale, middle)
        [a_dq] y = DequantizeLinear (aq, scale, middle)
    }
"""
"""A convolution and one more op, quantized the way npuopt does; OP stands for the second op."""


def quantized_model(path: Path, op: str = "Relu") -> Path:
    model = onnx.parser.parse_model(QUANTIZED.replace("OP", op))
    weights = bytes((7 * index) % 256 for index in range(4 * 4 * 3 * 3))
    model.graph.initializer.append(onnx.helper.make_tensor("w", onnx.TensorProto.INT8, [4, 4, 3, 3], weights, raw=True))
    onnx.save(model, path)
    return path


def float_model(path: Path, body: str, shape: str = "1,8,16", out: str = "") -> Path:
    text = f"""
        <ir_version: 10, opset_import: ["" : 24]>
        plain (float[{shape}] x) => (float[{out or shape}] y)
        {{ {body} }}
    """
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def hexagon(soc_model: int = 69, arch: str = "v79", vtcm_mib: int = 8, more: str = "") -> Target:
    return parse_target(f"""
name: test/hexagon
title: a test's chip
source: test
delegate: {{road: qnn, soc_model: {soc_model}, arch: {arch}, vtcm_mib: {vtcm_mib}{more}}}
schemes: {{fp16: {{activation: float16, tensors: [float32, float16]}}}}
ops: {{Relu: {{schemes: [fp16]}}}}
""")
