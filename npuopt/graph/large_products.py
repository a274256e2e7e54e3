"""Cuts products with large dequantized weights into blocks of rows, so that one block is a float at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npuopt.graph.editor import Editor
from npuopt.graph.mapped import MappedPackedTensor, MappedTensor, mapped_tensor
from npuopt.graph.queries import (
    attribute,
    constant,
    has_one_use,
    input_at,
    is_constant,
    nodes,
    producer,
    rank,
    scalar,
    static_shape,
)

if TYPE_CHECKING:
    import onnx_ir as ir

AT_MOST = 16 << 20
"""Bytes of float32 that a block is dequantized to: about what the caches of a core's cluster hold."""


class _Product(NamedTuple):
    """A Gemm whose weights, [rows, width], are dequantized from constants."""

    node: ir.Node
    weights: ir.Node
    rows: int
    width: int


def split_large_products(model: ir.Model, at_most: int = AT_MOST) -> int:
    """Split each Gemm with transB whose weights take more than `at_most` bytes once dequantized, and count them.

    ONNX Runtime has no kernel for 16-bit activations and dequantizes such weights whole at each run: 671 MB for the
    168 MB of an int8 head with 262,144 rows of 640. Each block of rows gets a DequantizeLinear and a Gemm of its own,
    whose results are concatenated; every sum stays the same. Weights in files stay there.

    Args:
        model: is edited.
        at_most: bytes of float32.
    """
    editor, count = Editor(model), 0
    for node in nodes(model, "Gemm"):
        product = _product(node)
        if product is not None and product.rows * product.width * 4 > at_most:
            _split(editor, product, max(at_most // (product.width * 4), 1))
            count += 1
    return count


def _product(node: ir.Node) -> _Product | None:
    """Return the product when its weights, and what goes with them, can be cut along their rows."""
    weights = producer(input_at(node, 1))
    if weights is None or weights.op_type != "DequantizeLinear" or not has_one_use(weights.outputs[0]):
        return None
    shape = static_shape(weights.outputs[0])
    if shape is None or len(shape) != 2 or attribute(node, "transB", 0) != 1 or 0 in shape:
        return None
    rows, width = shape
    if not all(value is None or is_constant(value) for value in weights.inputs) or not _is_cut_by_rows(weights):
        return None
    bias = input_at(node, 2)
    if bias is not None and (not is_constant(bias) or (static_shape(bias) or (0,))[-1:] != (rows,)):
        return None
    return _Product(node, weights, rows, width)


def _is_cut_by_rows(weights: ir.Node) -> bool:
    """Say whether scales are one number, or go with the rows: one each, or one for each block of a row."""
    scale_rank, axis = rank(weights.inputs[1]), attribute(weights, "axis", 1) % 2
    if attribute(weights, "block_size", 0):
        return axis == 1
    return scalar(weights.inputs[1]) is not None or (scale_rank == 1 and axis == 0)


def _split(editor: Editor, product: _Product, block: int) -> None:
    node, weights, rows, _ = product
    options = {name: attribute(node, name, default) for name, default in (("alpha", 1.0), ("beta", 1.0))}
    options |= {"transA": attribute(node, "transA", 0), "transB": 1}
    form = {name: attribute(weights, name, default) for name, default in (("axis", 1), ("block_size", 0))}
    parts: list[ir.Value] = []
    for first in range(0, rows, block):
        last = min(first + block, rows)
        inputs = [_rows(editor, value, first, last, rows, node) for value in weights.inputs]
        floats = editor.emit("DequantizeLinear", inputs, form, before=node)
        bias = constant(input_at(node, 2))
        added = None if bias is None else editor.constant(np.ascontiguousarray(bias[..., first:last]), near=node)
        parts.append(editor.emit("Gemm", [node.inputs[0], floats, added], options, before=node))
    editor.replace_node(node, editor.emit("Concat", parts, {"axis": 1}, before=node))
    held = [value for value in weights.inputs if value is not None]
    editor.erase_unread(weights)
    for value in held:
        if not value.uses() and value.name is not None and value.graph is not None:
            value.graph.initializers.pop(value.name, None)


def _rows(editor: Editor, value: ir.Value | None, first: int, last: int, rows: int, near: ir.Node) -> ir.Value | None:
    """Return a constant that is some rows of another, in the same place of the same file; a single number stays."""
    tensor = None if value is None else value.const_value
    if value is None or tensor is None or tensor.size == 1 or tensor.shape[0] != rows:
        return value
    name = f"{value.name}/{first}"
    if isinstance(tensor, MappedTensor | MappedPackedTensor) and tensor.length % rows == 0:
        at = tensor.offset + first * (tensor.length // rows)
        shape = (last - first, *tensor.shape.numpy()[1:])
        return editor.shared_constant(mapped_tensor(tensor.source, at, tensor.dtype, shape, name), near=near, name=name)
    return editor.constant(np.ascontiguousarray(tensor.numpy()[first:last]), near=near, name=name)
