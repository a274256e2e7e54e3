from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuopt.graph import Builder, attribute_list, element_type, input_at, is_constant, producer, static_shape
from npuopt.pipeline import Changed, Declined, NodePass, Outcome

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node
    from npuopt.target import Target


@dataclass(frozen=True)
class FuseTransposedWeight(NodePass):
    """A product with the transpose of a constant becomes Gemm, which reads the constant as it lies.

    `MatMul(x, Transpose(w)) -> Gemm<transB = 1>(x, w)`, between Reshapes where x has another rank than 2. Transposes of
    constants are folded before; what is left of them would have grown the file, such as the head of a language model
    that is tied to its embedding. A weight that is computed at run time is no weight to a quantizer.

    Left alone: weights of another rank than 2; integers; an x whose shape is not static or has no elements.
    """

    name = "fuse-transposed-weight"
    op_types = ("MatMul",)
    needs = frozenset({"shapes-known"})

    def rewrite(self, node: Node, edit: Editor, target: Target | None) -> Outcome:
        """Fuse the Transpose behind the second operand of `node`."""
        x, turn = input_at(node, 0), producer(input_at(node, 1), "Transpose")
        weight = None if turn is None else input_at(turn, 0)
        if x is None or turn is None or weight is None or not is_constant(weight):
            return None
        size, shape, kind = static_shape(weight), static_shape(x), element_type(x)
        if size is None or len(size) != 2 or attribute_list(turn, "perm", (1, 0)) != [1, 0]:
            return Declined("the weight is no transposed matrix")
        if kind is None or not kind.is_floating_point():
            return Declined(f"Gemm does not take {kind} everywhere")
        if shape is None or 0 in (*shape, *size):
            return Declined("the shape of x is not static, or something has no elements")
        build = Builder(edit, node)
        flat = (math.prod(shape[:-1]), shape[-1])
        rows = x if shape == flat else build("Reshape", x, build.integers(*flat))
        product = build("Gemm", rows, weight, transB=1)
        edit.replace_node(
            node, product if shape == flat else build("Reshape", product, build.integers(*shape[:-1], size[0]))
        )
        edit.erase_unread(turn)
        return Changed("reads the weight as it lies")
