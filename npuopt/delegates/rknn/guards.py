"""Writes into models with encodings what changes no number, and without which the toolkit crashes on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

from npuopt.delegates.rknn.placement import CONVERTS, MOVES

if TYPE_CHECKING:
    import onnx


def give_biases(model: onnx.ModelProto) -> None:
    """Give products in 8 bits that have none a bias of zeros.

    Without one, and with an addition behind it, RKNN-Toolkit2 2.5.0 ends in a segmentation fault.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        data, weight = (makers.get(name) for name in (*node.input, "", "")[:2])
        if node.op_type in ("Conv", "Gemm") and not any(node.input[2:]) and data is not None and weight is not None:
            held, scales = constants.get(weight.input[0]), [constants.get(maker.input[1]) for maker in (data, weight)]
            if held is not None and None not in scales:
                scale = np.multiply(*(numpy_helper.to_array(one) for one in scales if one is not None)).reshape(-1)
                bias = _zeros(model, node, scale, _channels(node, held))
                node.input[:] = [*node.input[:2], bias.output[0]]
                nodes.append(bias)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def part_attention(model: onnx.ModelProto) -> None:
    """Put a Relu behind a Softmax that a product reads in another shape, beside encodings: shares are never negative.

    So decoders are written whose heads share keys and values. Otherwise RKNN-Toolkit2 2.5.0 makes one layer of the
    attention (exSDPAttention), and ends in a segmentation fault.
    """
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def reaches_product(name: str) -> bool:
        return any(
            reader.op_type == "MatMul" or (reader.op_type in MOVES | CONVERTS and reaches_product(reader.output[0]))
            for reader in readers.get(name, ())
        )

    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        name = node.output[0]
        shaped = [reader for reader in readers.get(name, ()) if reader.op_type in MOVES]
        if node.op_type == "Softmax" and any(reaches_product(reader.output[0]) for reader in shaped):
            for reader in readers[name]:
                reader.input[:] = [f"{name}/parted" if one == name else one for one in reader.input]
            nodes.append(helper.make_node("Relu", [name], [f"{name}/parted"], f"{node.name}/parted"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _zeros(model: onnx.ModelProto, node: onnx.NodeProto, scale: np.ndarray, channels: int) -> onnx.NodeProto:
    """Add a bias of zeros in the scale of the products, and return the DequantizeLinear that makes it."""
    name = f"{node.output[0]}/bias"
    arrays = {
        f"{name}/quantized": np.zeros(channels, np.int32),
        f"{name}/scale": (scale if scale.size > 1 else scale[0]).astype(np.float32),
        f"{name}/zero_point": np.zeros(scale.shape if scale.size > 1 else (), np.int32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), key) for key, array in arrays.items())
    return helper.make_node("DequantizeLinear", list(arrays), [name], name, axis=0)


def _channels(node: onnx.NodeProto, weight: onnx.TensorProto) -> int:
    is_turned = any(item.name == "transB" and item.i for item in node.attribute)
    return weight.dims[0] if node.op_type == "Conv" or is_turned else weight.dims[1]
