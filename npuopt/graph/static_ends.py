"""What to compare of a model whose outputs data sizes: the tensors that these are computed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph.editor import Editor
from npuopt.graph.queries import is_constant, static_shape

if TYPE_CHECKING:
    import onnx_ir as ir


def with_static_ends(model: ir.Model) -> ir.Model:
    """Return the model with outputs of static shape alone, itself where it has no others.

    Two runs that NonMaxSuppression keeps other boxes of have no outputs that could be subtracted. A copy of the model
    ends with what its nodes of unknown size read instead. Those outputs are called by reader and place, so that they
    have the same names in a model whose tensors have got QuantizeLinear and DequantizeLinear behind them.
    """
    if all(static_shape(value) is not None for value in model.graph.outputs):
        return model
    copy = model.clone()
    edit = Editor(copy)
    kept = [value for value in copy.graph.outputs if static_shape(value) is not None]
    for node in list(copy.graph):
        if all(static_shape(value) is not None for value in node.outputs if value.name):
            continue
        for index, value in enumerate(node.inputs):
            if value is not None and static_shape(value) is not None and not is_constant(value):
                end = edit.emit("Identity", [value], before=node)
                end.name = edit.fresh_name(f"{node.outputs[0].name}/input_{index}")
                kept.append(end)
    copy.graph.outputs[:] = kept
    return copy
