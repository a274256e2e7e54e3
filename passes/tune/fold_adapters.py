"""Merges low-rank adapters into the weights they adapt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from npuopt.graph import Editor, constant, label
from npuopt.passes.tune.adapters import read_adapters
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class FoldAdapters(Pass):
    """Add low-rank adapters to the weights of the layers they are for.

    `MatMul(x, W)` with an adapter of halves A and B becomes `MatMul(x, W + alpha / rank * (B A)^T)`. The numbers
    change by what the adapter is for.

    Left alone: layers without an adapter. Where other nodes read the same weight, they keep the old one.

    Attributes:
        adapters: an `.npz` or `.safetensors` file, or a mapping of its arrays: `layer.lora_A` [rank, features],
            `layer.lora_B` [outputs, rank] and, if it is not the rank, `layer.alpha`. A layer is named by its weight
            or its node.
    """

    name: ClassVar[str] = "fold-adapters"
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})

    adapters: Mapping[str, Any] | Path = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Add each adapter to its layer's weight.

        Raises:
            InputError: when an adapter fits no layer; nothing is changed then.
        """
        del target  # the sum is the same for all
        report, edit = Report(self.name), Editor(model)
        found = read_adapters(self.adapters, model)
        if not found:
            report.notes.append("no adapters were given, so nothing is changed")
        for adapter in found:
            weight = adapter.weight
            change = adapter.scale * (adapter.down @ adapter.up)
            held = cast("np.ndarray", constant(weight))
            merged = (held + (change.T if adapter.is_transposed else change)).astype(held.dtype)
            adapter.node.replace_input_with(1, edit.constant(merged, near=adapter.node, name=weight.name or ""))
            if not weight.uses() and not weight.is_graph_output():
                del model.graph.initializers[weight.name or ""]
                cast("Any", adapter.node.inputs[1]).name = weight.name
            rank = adapter.down.shape[1]
            report.changed.append(
                Entry(label(adapter.node), adapter.node.op_type, f"rank {rank} added to {weight.name}")
            )
        return report
