"""ConvTranspose as one convolution that makes all pixels of a stride at once, and a shuffle.

With stride s, output pixel s * q + a of one axis sums the taps a, a + s, a + 2s, ... of the kernel over the inputs
q, q - 1, q - 2, ...: for each a an ordinary convolution with every s-th tap, all over the same inputs. The s * s
convolutions of an image become one with s * s times the channels. TVM's own loop nest has no schedule and multiplies
mostly zeros (measured: 113 times ONNX Runtime).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.delegates.host.tvm_api import Expression, relax
from npuopt.delegates.host.tvm_legalize import static_shape
from npuopt.delegates.host.tvm_products import Shape, ints

if TYPE_CHECKING:
    from collections.abc import Mapping


def fits(data: Expression, attributes: Mapping[str, Any]) -> bool:
    """Whether `convert` knows the case: images, no dilation, padding given as numbers."""
    plain = all(int(step) == 1 for step in attributes.get("dilations", (1, 1)))
    numbers = attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and "output_shape" not in attributes
    return len(static_shape(data) or ()) == 4 and plain and numbers


def convert(data: Expression, weight: np.ndarray, attributes: Mapping[str, Any]) -> Expression:
    """The Relax form of an ONNX ConvTranspose without bias over NCHW data.

    Args:
        data: [N, I, H, W].
        weight: [I, O / group, kernel height, kernel width].
        attributes: of the ONNX node.
    """
    batch, _, *size = ints(list(data.ty.shape))
    strides: Shape = tuple(attributes.get("strides", (1, 1)))
    kernel = weight.shape[2:]
    steps = tuple(-(-taps // stride) for taps, stride in zip(kernel, strides, strict=True))
    filters = _filters_by_phase(weight, int(attributes.get("group", 1)), strides, steps)
    channels = len(filters) // (strides[0] * strides[1])
    made = relax.op.nn.conv2d(
        data,
        relax.const(filters),
        padding=[step - 1 for step in (*steps, *steps)],
        groups=int(attributes.get("group", 1)),
    )
    height, width = (pixels + step - 1 for pixels, step in zip(size, steps, strict=True))
    phases = relax.op.reshape(made, (batch, channels, *strides, height, width))
    shuffled = relax.op.permute_dims(phases, (0, 1, 4, 2, 5, 3))
    whole = (height * strides[0], width * strides[1])
    image = relax.op.reshape(shuffled, (batch, channels, *whole))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0))) if attributes.get("auto_pad") != b"VALID" else (0, 0, 0, 0)
    extra = tuple(attributes.get("output_padding", (0, 0)))
    ends = tuple(
        (pixels - 1) * stride + taps - pad + more
        for pixels, stride, taps, pad, more in zip(size, strides, kernel, pads[2:], extra, strict=True)
    )
    return _cut(image, whole, pads[:2], ends)


def _filters_by_phase(weight: np.ndarray, groups: int, strides: Shape, steps: Shape) -> np.ndarray:
    """[I, O / g, h, w] -> [O * s * s, I / g, h / s, w / s]: every s-th tap, last one first."""
    inputs, outputs, height, width = weight.shape
    missing = [(0, 0), (0, 0), (0, steps[0] * strides[0] - height), (0, steps[1] * strides[1] - width)]
    split = np.pad(weight, missing).reshape(
        groups, inputs // groups, outputs, steps[0], strides[0], steps[1], strides[1]
    )
    by_phase = split[:, :, :, ::-1, :, ::-1, :].transpose(0, 2, 4, 6, 1, 3, 5)
    channels = groups * outputs * strides[0] * strides[1]
    return np.ascontiguousarray(by_phase.reshape(channels, inputs // groups, *steps))


def _cut(image: Expression, size: Shape, begins: Shape, ends: Shape) -> Expression:
    """Height and width of `image` from `begins` to `ends`, zeros beyond its own end."""
    beyond = [max(end - extent, 0) for end, extent in zip(ends, size, strict=True)]
    if any(beyond):
        image = relax.op.nn.pad(image, [0, 0, 0, 0, 0, beyond[0], 0, beyond[1]])
    if begins == (0, 0) and ends == tuple(extent + more for extent, more in zip(size, beyond, strict=True)):
        return image
    return relax.op.strided_slice(image, axes=[2, 3], begin=list(begins), end=list(ends))
