"""The same small transformers by torch's TorchScript and dynamo exporters: NAME_ATTENTION_EXPORTER.onnx.

Random weights, two layers each; what is looked at is how each exporter writes them down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import torch

from tools.models.recipes.architectures import ARCHITECTURES

if TYPE_CHECKING:
    from pathlib import Path

    from tools.models.recipes.architectures import Exported

SEED = 0


def make(folder: Path, downloads: Path) -> None:
    """Write every architecture, with each implementation of attention, by both exporters."""
    del downloads
    for name, (build, implementations) in ARCHITECTURES.items():
        for attention in implementations:
            torch.manual_seed(SEED)
            wanted = build(attention)
            wanted.model.eval().requires_grad_(requires_grad=False)
            torchscript(wanted, folder / f"{name}_{attention}_torchscript.onnx")
            dynamo(wanted, folder / f"{name}_{attention}_dynamo.onnx")


def torchscript(wanted: Exported, path: Path) -> None:
    """Export by tracing, at opset 17."""
    torch.onnx.export(
        wanted.model,
        wanted.example,
        str(path),
        input_names=wanted.inputs,
        output_names=wanted.outputs,
        dynamic_axes=wanted.axes,
        opset_version=17,
        dynamo=False,
    )


def dynamo(wanted: Exported, path: Path) -> None:
    """Export by torch.export, at opset 18, without the stack traces that torch leaves on nodes."""
    torch.onnx.export(
        wanted.model,
        wanted.example,
        str(path),
        input_names=wanted.inputs,
        output_names=wanted.outputs,
        dynamic_shapes=wanted.dynamic_shapes(),
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    proto = onnx.load(path)
    for node in proto.graph.node:
        del node.metadata_props[:]
    onnx.save(proto, path)
