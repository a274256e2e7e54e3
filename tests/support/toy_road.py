"""A chip that exists on paper only, and a delegate for it: the whole road without any vendor's tool."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from npuopt.delegates.contract import NodeOnDevice
from npuopt.delegates.host.ort_delegate import OrtDelegate
from npuopt.graph import load, nodes, save
from support.rewrites import model_from

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.delegates.contract import CompiledRegion, Limits
    from npuopt.target import Target

TOY_CHIP = """
name: toy/chip
title: A chip on paper
source: invented
delegate: {road: qnn, soc_model: 69, arch: v79, vtcm_mib: 8}
shapes: {static: required, max_rank: 5}
schemes:
  a8w8: {activation: uint8, weight: int8, weight_axis: channel, bias: int32}
  fp16: {activation: float16, tensors: [float32, float16]}
ops:
  MatMul: {schemes: [a8w8, fp16], quantization: {weights: [1]}}
  Relu: {schemes: [a8w8, fp16]}
"""

TOY_MODEL = """(float[batch, 4] x) => (float[batch, 3] y)
<float[4, 3] w = {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12}> {[product] p = MatMul(x, w)  [positive] y = Relu(p)}"""


class ToyDelegate(OrtDelegate):
    """Claims to have put every node on the device, and runs it on the CPU."""

    on_npu: ClassVar[bool] = True

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        region = super().compile(model, folder, target, limits=limits)
        placed = tuple(NodeOnDevice(node.name or "", node.op_type, self.on_npu) for node in nodes(load(model)))
        return dataclasses.replace(region, road="qnn", nodes=placed)


class HonestDelegate(ToyDelegate):
    """Says that every node is on the host."""

    on_npu = False


def toy_files(folder: Path) -> tuple[Path, Path, Path]:
    """Write the chip's descriptor, a model for it and calibration data; return their paths."""
    folder.mkdir(exist_ok=True)
    chip, model, data = folder / "chip.yaml", folder / "model.onnx", folder / "data.npz"
    chip.write_text(TOY_CHIP)
    save(model_from(TOY_MODEL), model)
    np.savez(data, x=np.random.default_rng(0).normal(size=(3, 1, 4)).astype(np.float32))
    return chip, model, data
