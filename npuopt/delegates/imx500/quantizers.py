"""Writes QuantizeLinear and DequantizeLinear as the quantizers of Sony's Model Compression Toolkit.

The converter of the IMX500 knows these alone (package mct-quantizers 1.6.0, domain `mct_quantizers`):
    QuantizeLinear -> DequantizeLinear   ActivationPOTQuantizer, threshold = scale * 128 (unsigned: 256)
    DequantizeLinear of a constant       WeightsPOTQuantizer of the float weight, threshold = scale * 128
    DequantizeLinear of a constant bias  the float bias
Shapes to reshape to are written in full: it takes no 0, which stands for a dimension of the input. Names inside keep
to letters, digits and `_./-`: over `onnx::Conv_1055`, as torch names weights, it ends in `For input string: ""`.
"""

from __future__ import annotations

import re
from math import log2
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from npuopt.errors import VendorToolError
from npuopt.graph.node_names import free_name

if TYPE_CHECKING:
    from pathlib import Path

DOMAIN, VERSION = "mct_quantizers", "1.6.0"
OPSET, IR_VERSION = 15, 8
"""As the toolkit's own exporter writes them."""
PRODUCER, PRODUCER_VERSION = "pytorch", "2.6.0"
"""The converter reads no model of another producer, or of one without a version."""

UNREADABLE = re.compile(r"[^A-Za-z0-9_./-]")


def write_quantizers(source: Path, output: Path) -> None:
    """Write the quantized model `source` as the converter takes it.

    Raises:
        VendorToolError: an encoding is none of the chip's, or the opset cannot say what the model says.
    """
    model = onnx.load(source)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
    model = onnx.shape_inference.infer_shapes(model)  # the converter asks the type of every quantizer's output
    _Rewriter(model.graph).rewrite()
    _name_plainly(model.graph)
    for imported in model.opset_import:
        if imported.domain in ("", "ai.onnx"):
            imported.version = min(imported.version, OPSET)
    if all(imported.domain != DOMAIN for imported in model.opset_import):
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, PRODUCER, PRODUCER_VERSION
    del model.metadata_props[:]
    try:
        onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
    except onnx.checker.ValidationError as error:
        said = " ".join(str(error).split())[:300]
        raise VendorToolError(f"opset {OPSET} cannot say it: {said}", where=str(source)) from error
    output.write_bytes(model.SerializeToString())


def _name_plainly(graph: onnx.GraphProto) -> None:
    """Replace what the converter stumbles over in names of nodes and tensors; inputs and outputs keep theirs."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    taken = set(names)
    inner = [name for node in graph.node for name in (*node.input, *node.output)]
    for name in (*inner, *(tensor.name for tensor in graph.initializer)):
        if name and name not in names:
            names[name] = free_name(UNREADABLE.sub("_", name), taken)
            taken.add(names[name])
    nodes: set[str] = set()
    for node in graph.node:
        node.name = free_name(UNREADABLE.sub("_", node.name), nodes)
        nodes.add(node.name)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for held in (*graph.initializer, *graph.value_info):
        held.name = names.get(held.name, held.name)


class _Rewriter:
    """Replaces the quantization of one graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.added: list[onnx.TensorProto] = []

    def rewrite(self) -> None:
        """Write every pair anew; what nobody reads any more goes."""
        biases = {node.input[2] for node in self.graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2}
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            if node.op_type == "DequantizeLinear":
                nodes += self._dequantized(node, is_bias=node.output[0] in biases)
            elif node.op_type == "Reshape":
                nodes.append(self._reshaped(node))
            elif node.op_type != "QuantizeLinear":
                nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input} | {value.name for value in self.graph.output}
        kept = [tensor for tensor in (*self.graph.initializer, *self.added) if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        made = {name for node in nodes for name in node.output}
        infos = [value for value in self.graph.value_info if value.name in made]
        del self.graph.value_info[:]
        self.graph.value_info.extend(infos)
        for index, node in enumerate(self.graph.node):
            node.name = node.name or f"node_{index}"
            del node.metadata_props[:]

    def _reshaped(self, node: onnx.NodeProto) -> onnx.NodeProto:
        known = {value.name: value for value in (*self.graph.value_info, *self.graph.output)}
        if node.output[0] in known:
            dims = known[node.output[0]].type.tensor_type.shape.dim
            name = f"{node.output[0]}_shape"
            self.added.append(numpy_helper.from_array(np.array([dim.dim_value for dim in dims], np.int64), name))
            node.input[1] = name
        return node

    def _dequantized(self, node: onnx.NodeProto, *, is_bias: bool) -> list[onnx.NodeProto]:
        held = self.constants.get(node.input[0])
        scale = self._array(node.input[1], node)
        if held is not None:
            return self._weight(node, held, scale, is_bias=is_bias)
        quantize = self.makers.get(node.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear" or scale.size != 1:
            raise VendorToolError("the converter takes activations quantized as a whole only", where=node.name)
        zero = self._array(quantize.input[2], node) if len(quantize.input) > 2 else np.zeros((), np.uint8)
        if np.any(zero):
            raise VendorToolError("the converter takes no zero points", where=node.name)
        signed = zero.dtype == np.int8
        threshold = float(scale) * (128 if signed else 256)
        self._require_power(threshold, node)
        made = helper.make_node(
            "ActivationPOTQuantizer", [quantize.input[0]], list(node.output), node.name, domain=DOMAIN,
            num_bits=8, signed=int(signed), threshold=threshold, mctq_version=VERSION,
        )  # fmt: skip
        return [made]

    def _weight(
        self, node: onnx.NodeProto, held: onnx.TensorProto, scale: np.ndarray, *, is_bias: bool
    ) -> list[onnx.NodeProto]:
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        integers = numpy_helper.to_array(held)
        shape = [1] * integers.ndim
        if scale.size > 1:
            shape[axis] = scale.size
        float_name = f"{node.output[0]}_float"
        if is_bias:
            float_name = node.output[0]
        values = integers.astype(np.float32) * scale.reshape(shape if scale.size > 1 else ())
        self.added.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), float_name))
        if is_bias:
            return []
        if held.data_type != onnx.TensorProto.INT8:
            raise VendorToolError("the converter takes weights of int8 only", where=node.name)
        thresholds = np.atleast_1d(scale * 128).astype(np.float32)
        for threshold in thresholds:
            self._require_power(float(threshold), node)
        name = f"{node.output[0]}_threshold"
        self.added.append(numpy_helper.from_array(thresholds, name))
        made = helper.make_node(
            "WeightsPOTQuantizer", [float_name, name], list(node.output), node.name, domain=DOMAIN,
            num_bits=8, signed=1, per_channel=int(scale.size > 1), channel_axis=axis % max(integers.ndim, 1),
            mctq_version=VERSION,
        )  # fmt: skip
        return [made]

    def _array(self, name: str, node: onnx.NodeProto) -> np.ndarray:
        if name not in self.constants:
            raise VendorToolError("the converter takes constant scales only", where=node.name)
        return np.asarray(numpy_helper.to_array(self.constants[name]))

    def _require_power(self, threshold: float, node: onnx.NodeProto) -> None:
        if threshold <= 0 or log2(threshold) % 1:
            raise VendorToolError(f"the converter takes powers of two only, not {threshold:g}", where=node.name)
