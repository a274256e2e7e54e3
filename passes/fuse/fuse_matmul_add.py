from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import (
    Builder,
    constant,
    dims,
    element_type,
    is_constant,
    only_user,
    producer,
    static_shape,
)
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseMatmulAdd(NodePass):
    """A product of two matrices and a constant bias become Gemm.

    `Add(MatMul(a, b), c) -> Gemm(a, b, c)`

    Left alone: a product of other than two matrices; a bias that is given at run time, is not a row of the product's
    width or a single number, or raises the rank; integers; a product that is read elsewhere or is a graph output.

    Attributes:
        flatten: also fuse a product of a tensor of higher rank with a matrix, between two Reshapes, where all its
            dims are known.
    """

    name = "fuse-matmul-add"
    op_types = ("Add",)
    needs = frozenset({"shapes-known"})

    flatten: bool = False

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the sum `node` with the product that makes one of its operands."""
        for value, bias in (node.inputs, node.inputs[::-1]):
            product = producer(value, "MatMul")
            if product is None or value is None or bias is None or producer(bias) is not None:
                continue
            return self._fuse(node, product, bias, edit)
        return None

    def _fuse(self, node: Node, product: Node, bias: Value, edit: Editor) -> Outcome:
        left, right = product.inputs
        left_dims, right_dims, kind = dims(left), dims(right), element_type(left)
        if only_user(product.outputs[0]) is not node or product.graph is not node.graph:
            return Declined(f"the product {product.outputs[0].name!r} is read elsewhere or is a graph output")
        if left is None or right is None or left_dims is None or right_dims is None:
            return Declined("the rank of a factor is not known")
        if kind is None or not kind.is_floating_point():
            return Declined(f"it computes in {kind}")
        if len(right_dims) != 2 or len(left_dims) < 2 or (len(left_dims) > 2 and not self.flatten):
            return Declined(f"its factors are of rank {len(left_dims)} and {len(right_dims)}, not two matrices")
        row = _as_row(bias, right_dims[1], len(left_dims), edit, node)
        if isinstance(row, Declined):
            return row
        if len(left_dims) > 2:
            return _between_reshapes(node, left, right, row, edit)
        edit.replace(node.outputs[0], edit.emit("Gemm", [left, right, row], before=node))
        edit.erase_unread(node)
        return Changed("became Gemm")


def _as_row(bias: Value, width: int | str | None, depth: int, edit: Editor, near: Node) -> Value | Declined:
    """Return the bias as a vector of the product's width or of one number, or say why it is none."""
    shape = static_shape(bias)
    if not is_constant(bias) or shape is None:
        return Declined(f"the bias {bias.name!r} is not constant")
    if len(shape) > depth or any(size != 1 for size in shape[:-1]) or (shape and shape[-1] not in (1, width)):
        return Declined(f"the bias {bias.name!r} of shape {list(shape)} is no row of width {width}")
    known = constant(bias)
    if len(shape) == 1 or known is None:
        return bias
    return edit.constant(known.reshape(-1), near=near, name=f"{bias.name}/row")


def _between_reshapes(node: Node, left: Value, right: Value, row: Value, edit: Editor) -> Outcome:
    source, result = static_shape(left), static_shape(node.outputs[0])
    if source is None or result is None or 0 in source:
        return Declined("the shape of a factor of higher rank is not known")
    flat = edit.emit("Reshape", [left, _shape(edit, node, -1, source[-1])], before=node)
    product = edit.emit("Gemm", [flat, right, row], before=node)
    edit.replace(node.outputs[0], edit.emit("Reshape", [product, _shape(edit, node, *result)], before=node))
    edit.erase_unread(node)
    return Changed("became Gemm between two Reshapes")


def _shape(edit: Editor, near: Node, *sizes: int) -> Value:
    return Builder(edit, near).integers(*sizes)
