"""Standard ops in the place of ONNX Runtime's own, which ONNX infers no shapes of; in protos for inference only.

What stands in makes values of the same types and shapes, and not the same numbers: a product with weights that are
quantized becomes a product with zeros of their size. So sizes, names of dims and broadcasting go on through ONNX's
own inference.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Rules = Mapping[str, Callable[["_Place"], None]]

DOMAIN = "com.microsoft"
SWAP_LAST = "...ij->...ji"
BATCH_BEHIND_ROWS = "i...j->...ij"
"""Einsum equations: axes exchanged in tensors of any rank."""


class _Place:
    """The nodes that stand in for one node.

    Attributes:
        node: the node.
        graph: that holds it.
        opset: version of the standard domain.
        nodes: what stands in for it, so far.
    """

    def __init__(self, node: onnx.NodeProto, graph: onnx.GraphProto, opset: int) -> None:
        self.node = node
        self.graph = graph
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self._attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}

    def input(self, index: int) -> str:
        """Return the name of an input, empty where it is left out."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def attribute(self, name: str, default: Any) -> Any:  # noqa: ANN401 -- of whatever type the attribute is
        """Return an attribute, or `default` where it is absent."""
        return self._attributes.get(name, default)

    def attributes(self, *names: str) -> dict[str, Any]:
        """Return those of the node's attributes that have these names."""
        return {name: self._attributes[name] for name in names if name in self._attributes}

    def make(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:  # noqa: ANN401 -- as above
        """Add a standard node and return the name of its first output."""
        stem = f"\0{self.node.output[0]}\0{len(self.nodes)}"
        names = [f"{stem}\0{index}" for index in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op_type, inputs, names, **attributes))
        return names[0]

    def zeros(self, *shape: int) -> str:
        """Return floats of this shape, which take no memory."""
        return self.make("ConstantOfShape", self.vector(*shape))

    def vector(self, *numbers: int) -> str:
        """Return an int64 constant."""
        return self.make("Constant", value=onnx.numpy_helper.from_array(np.array(numbers, dtype=np.int64)))

    def give(self, value: str, *indices: int) -> None:
        """Let outputs of the node be of the type and shape of a value."""
        for index in indices:
            if index < len(self.node.output) and self.node.output[index]:
                self.nodes.append(onnx.helper.make_node("Identity", [value], [self.node.output[index]]))


def stand_in(model: onnx.ModelProto) -> None:
    """Put standard nodes in the place of those of ONNX Runtime's whose shapes are known here, in place.

    Args:
        model: a proto that is for inference only; subgraphs are gone into, functions are not.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if DOMAIN in versions:
        own = {function.name for function in model.functions if function.domain == DOMAIN}
        rules = {name: rule for name, rule in RULES.items() if name not in own}
        _stand_in(model.graph, versions.get("", versions.get("ai.onnx", 0)), rules)


def has_stand_in(domain: str, op_type: str) -> bool:
    """Say whether types and shapes of this op's values follow from those of its inputs."""
    return domain == DOMAIN and op_type in RULES


def _stand_in(graph: onnx.GraphProto, opset: int, rules: Rules) -> None:
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.node:
        for attribute in node.attribute:
            for subgraph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                _stand_in(subgraph, opset, rules)
        rule = rules.get(node.op_type) if node.domain == DOMAIN and node.output else None
        place = _Place(node, graph, opset)
        if rule is not None:
            rule(place)
        changed = changed or bool(place.nodes)
        nodes.extend(place.nodes or [node])
    if changed:
        del graph.node[:]
        graph.node.extend(nodes)


def _as_first_input(*indices: int) -> Callable[[_Place], None]:
    return lambda place: place.give(place.input(0), *indices)


def _broadcast(op_type: str, *inputs: int) -> Callable[[_Place], None]:
    return lambda place: place.give(place.make(op_type, *map(place.input, inputs)), 0)


def _with_attributes(op_type: str, inputs: Sequence[int], *names: str) -> Callable[[_Place], None]:
    """Stand in with the op that has the same inputs and attributes under the same names."""

    def rule(place: _Place) -> None:
        if not place.attribute("channels_last", 0):
            place.give(place.make(op_type, *map(place.input, inputs), **place.attributes(*names)), 0)

    return rule


def _concat(place: _Place) -> None:
    place.give(place.make("Concat", *place.node.input[2::3], axis=place.attribute("axis", 0)), 0)


def _fused_matmul(place: _Place) -> None:
    factors: list[str] = []
    for index, side in enumerate("AB"):
        factor = place.input(index)
        if place.attribute(f"transBatch{side}", 0):
            factor = place.make("Einsum", factor, equation=BATCH_BEHIND_ROWS)
        if place.attribute(f"trans{side}", 0):
            factor = place.make("Einsum", factor, equation=SWAP_LAST)
        factors.append(factor)
    place.give(place.make("MatMul", *factors), 0)


def _packed_matmul(place: _Place) -> None:
    rows, columns = place.attribute("K", 0), place.attribute("N", 0)
    if not place.attribute("transB", 1):  # of MatMulBnb4, which may have its weights the other way round
        return
    place.give(place.make("MatMul", place.input(0), place.zeros(rows, columns)), 0)


def _in_type_of(place: _Place, giver: str, value: str) -> str:
    """Return a value of the shape of `value` and the type of a scalar."""
    return place.make("Add", giver, value)


def _integer_matmul(place: _Place) -> None:
    product = place.make("MatMul", place.input(0), place.input(1))
    place.give(_in_type_of(place, place.input(2), product), 0)


def _quantized_gemm(place: _Place) -> None:
    product = place.make("Gemm", place.input(0), place.input(3), **place.attributes("transA", "transB"))
    giver = place.input(8) if place.input(7) else place.input(1)
    if giver:
        place.give(_in_type_of(place, giver, product), 0)


def _embedding(place: _Place) -> None:
    place.give(place.make("Gather", place.input(2), place.input(0)), 0, 2)
    lengths = place.make("ArgMax", place.input(0), axis=1, keepdims=0)
    place.give(place.make("Cast", lengths, to=onnx.TensorProto.INT32), 1)


def _quantized_gather(place: _Place) -> None:
    """Stand in for a Gather of rows that may have several numbers in a byte."""
    kept = (tensor.data_type for tensor in place.graph.initializer if tensor.name == place.input(0))
    declared = (info.type.tensor_type.elem_type for info in place.graph.input if info.name == place.input(0))
    kind = next(chain(kept, declared), None)
    if kind is None:
        return
    rows = place.make("Gather", place.input(0), place.input(1), axis=place.attribute("gather_axis", 0))
    if kind == onnx.TensorProto.UINT8:
        rows = place.make("Concat", *[rows] * (8 // place.attribute("bits", 4)), axis=-1)
    place.give(place.make("CastLike", rows, place.input(2)), 0)


def _attention(place: _Place) -> None:
    """Stand in for an Attention whose queries, keys and values are products of one input."""
    sizes = place.attribute("qkv_hidden_sizes", ())
    if sizes:
        place.give(place.make("Einsum", place.input(0), place.zeros(sizes[-1]), equation="bsh,v->bsv"), 0)
        return
    product = place.make("MatMul", place.input(0), place.input(1))
    parts = {"num_outputs": 3} if place.opset >= 18 else {}
    place.give(place.make("Split", product, outputs=3, axis=-1, **parts), 0)


def _multi_head_attention(place: _Place) -> None:
    if place.input(1) and place.input(2):
        place.give(place.make("Einsum", place.input(0), place.input(2), equation="bsh,blv->bsv"), 0)


def _grouped_attention(place: _Place) -> None:
    """Stand in for an attention of queries that may have keys and values behind them in one input."""
    if place.input(1):
        place.give(place.input(0), 0)
        return
    heads = place.attribute("num_heads", 0)
    split = place.make(
        "Reshape", place.input(0), place.vector(0, 0, heads + 2 * place.attribute("kv_num_heads", 0), -1)
    )
    queries = place.make("Slice", split, place.vector(0), place.vector(heads), place.vector(2))
    place.give(place.make("Reshape", queries, place.vector(0, 0, -1)), 0)


def _mean(place: _Place) -> None:
    axes, kept = place.attribute("axes", ()), place.attributes("keepdims")
    if place.opset >= 18:
        place.give(place.make("ReduceMean", place.input(0), *([place.vector(*axes)] if axes else []), **kept), 0)
    else:
        place.give(place.make("ReduceMean", place.input(0), **place.attributes("axes"), **kept), 0)


WINDOW = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
RULES: Rules = {
    **dict.fromkeys(("BiasGelu", "FastGelu", "Gelu", "QuickGelu", "RotaryEmbedding"), _as_first_input(0)),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), _as_first_input(0)),
    **dict.fromkeys(("BiasAdd", "BiasSoftmax", "GroupNorm"), _as_first_input(0)),
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _as_first_input(0, 3)),
    "SkipGroupNorm": _as_first_input(0, 1),
    "QLinearAdd": _broadcast("Add", 0, 3),
    "QLinearMul": _broadcast("Mul", 0, 3),
    "QLinearWhere": _broadcast("Where", 0, 1, 4),
    "QLinearConcat": _concat,
    "QLinearReduceMean": _mean,
    "QLinearAveragePool": _with_attributes("AveragePool", (0,), *WINDOW),
    "QLinearGlobalAveragePool": _with_attributes("GlobalAveragePool", (0,)),
    "QLinearConv": _with_attributes("Conv", (0, 3), "group", *WINDOW),
    "FusedConv": _with_attributes("Conv", (0, 1), "group", *WINDOW),
    "FusedGemm": _with_attributes("Gemm", (0, 1), "transA", "transB"),
    "QuantizeLinear": _with_attributes("QuantizeLinear", (0, 1, 2), "axis"),
    "DequantizeLinear": _with_attributes("DequantizeLinear", (0, 1, 2), "axis"),
    "QGemm": _quantized_gemm,
    "DynamicQuantizeMatMul": _broadcast("MatMul", 0, 1),
    "MatMulIntegerToFloat": _integer_matmul,
    **dict.fromkeys(("FusedMatMul", "FusedMatMulActivation", "TransposeMatMul"), _fused_matmul),
    **dict.fromkeys(("MatMulBnb4", "MatMulNBits"), _packed_matmul),
    "EmbedLayerNormalization": _embedding,
    "GatherBlockQuantized": _quantized_gather,
    "Attention": _attention,
    "MultiHeadAttention": _multi_head_attention,
    "GroupQueryAttention": _grouped_attention,
}
"""Op of ONNX Runtime -> what makes values of the same types and shapes; a rule may find that it does not know."""
