"""Cuts a bounded part out of a graph as a model of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from collections.abc import Iterable


def cut_out(model: ir.Model, inputs: Iterable[str], outputs: Iterable[str], *, name: str) -> ir.Model:
    """Return the nodes between `inputs` and `outputs`, and the constants they read, as a model.

    Weights are shared with `model`, not copied; `model` stays as it is.

    Args:
        model: the source; only its main graph is cut.
        inputs: names of values; each becomes a graph input.
        outputs: names of values; each becomes a graph output.
        name: the new graph's name.

    Raises:
        ValueError: when the inputs do not bound what the outputs need, or a name does not exist.
    """
    graph = ir.convenience.extract(model.graph, list(inputs), list(outputs))
    graph.name = name
    graph.opset_imports.update(model.opset_imports)
    return ir.Model(
        graph, ir_version=model.ir_version, producer_name="npuopt", functions=list(model.functions.values())
    )
