"""Cuts a part out of the graph as a model of its own; weights are shared, not copied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from npuopt.errors import cannot_write
from npuopt.graph import Editor, input_at, is_constant, label, save
from npuopt.graph.regions import cut_nodes, values_read

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.graph import Model, Node
    from npuopt.partition.plan import Part, Plan


def extract_region(model: Model, part: Part) -> Model:
    """Return the part as a standalone model: its inputs, its outputs, its nodes and the constants they read.

    Quantized tensors that another region made come in dequantized and are quantized again at once.
    """
    extra = [value for node in part.requantize for value in node.inputs[1:] if value is not None]
    cut = cut_nodes(model, part.nodes, part.input_values, part.output_values, name=part.name, constants=extra)
    edit = Editor(cut)
    for node in part.requantize:
        _requantize(edit, node)
    return cut


def _requantize(edit: Editor, dequantize: Node) -> None:
    """Put a Q/DQ pair like the one that made it behind the input that a DequantizeLinear of another region made."""
    graph = edit.model.graph
    stored = input_at(dequantize, 0)
    quantize = stored.producer() if stored is not None else None
    if quantize is None:
        raise ValueError(f"{label(dequantize)} does not dequantize what a QuantizeLinear made")
    value = next(item for item in graph.inputs if item.name == dequantize.outputs[0].name)
    readers = list(value.uses())
    first = graph[0]
    scales = [None if item is None else graph.initializers[item.name or ""] for item in dequantize.inputs[1:]]
    domain = dequantize.domain
    integers = edit.emit("QuantizeLinear", [value, *scales], quantize.attributes, before=first, domain=domain)
    again = edit.emit("DequantizeLinear", [integers, *scales], dequantize.attributes, before=first, domain=domain)
    for use in readers:
        use.node.replace_input_with(use.idx, again)


def save_refused(model: Model, plan: Plan, folder: Path) -> list[Path]:
    """Save each node that the device refused as a one-op model with its real shapes and weights.

    A file is named `<number>-<op>-<name>.onnx` in letters, digits and underscores, whatever the model calls them.

    Raises:
        UsageError: when the folder cannot be made or written; a plain NpuoptError when the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(error, str(folder)) from error
    saved: list[Path] = []
    for index, placement in enumerate(plan.placements):
        if not placement.reasons:
            continue
        node = placement.node
        inputs = [value for value in values_read(node) if not is_constant(value)]
        outputs = [value for value in node.outputs if value.name]
        name = f"{_safe(node.op_type)}-{_safe(label(node))}"
        path = folder / f"{index:04d}-{name}.onnx"
        save(cut_nodes(model, [node], inputs, outputs, name=name), path)
        saved.append(path)
    return saved


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name)[:60].strip("_")
