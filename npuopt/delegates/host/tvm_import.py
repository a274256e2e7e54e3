"""Reads a frozen ONNX model into Relax: TVM's front end, with the operators it reads badly read here.

Here are Clip and the n-ary Max, Min, Sum and Mean, which TVM turns into loops that its fusion cannot see through;
Gather, which reads out of bounds there; Squeeze, for negative axes are not understood everywhere; the normalizations,
whose scale it does not broadcast; Conv over one axis and ConvTranspose, for which there is no schedule; and Swish.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from npuopt.delegates.host import tvm_conv_transpose
from npuopt.delegates.host.tvm_api import Expression, Module, onnx_frontend, relax
from npuopt.delegates.host.tvm_legalize import constant_value, static_shape
from npuopt.delegates.host.tvm_products import Shape

if TYPE_CHECKING:
    import onnx

Inputs: TypeAlias = Sequence[Expression]  # None where an optional input is left out
Attributes: TypeAlias = Mapping[str, Any]
Converter: TypeAlias = Callable[[Inputs, Attributes], Expression]  # None: TVM's own converter does better


def import_model(model: onnx.ModelProto) -> Module:
    """The Relax module of a model whose shapes are static and whose constant subgraphs are folded.

    Weights become constants of the module. What TVM's converters print goes to stderr.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    # Given by hand: TVM takes a dimension of size zero for an unknown one.
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in model.graph.input}
    with contextlib.redirect_stdout(sys.stderr):
        return _Reader(shapes, "float32").from_onnx(model.graph, opset)


class _Reader(onnx_frontend.ONNXGraphImporter):
    """TVM's importer with the converters of this file before its own."""

    def _convert_operator(self, op_name: str, inputs: Inputs, attrs: Attributes, opset: int) -> Expression:
        converter = CONVERTERS.get(op_name)
        converted = converter(inputs, attrs) if converter is not None else None
        if converted is not None:
            return self.bb.normalize(converted)
        if op_name == "Conv" and len(static_shape(inputs[0]) or ()) == 3:
            return self._convolution_of_rows(inputs, attrs, opset)
        return self._convert_as_tvm_does(op_name, inputs, attrs, opset)

    def _convert_as_tvm_does(self, op_name: str, inputs: Inputs, attrs: Attributes, opset: int) -> Expression:
        importer: Any = super()
        return importer._convert_operator(op_name, inputs, attrs, opset)  # noqa: SLF001 -- overridden above

    def _convolution_of_rows(self, inputs: Inputs, attributes: Attributes, opset: int) -> Expression:
        """A one-dimensional convolution as one over images of height 1, for which there is a schedule."""
        wide = {**attributes}
        for name in ("kernel_shape", "strides", "dilations"):
            if name in wide:
                wide[name] = (1, *wide[name])
        if "pads" in wide:
            wide["pads"] = (0, wide["pads"][0], 0, wide["pads"][1])
        images = onnx_frontend.onnx_input()
        images += [self.bb.normalize(relax.op.expand_dims(x, axis=2)) for x in inputs[:2]]
        images += list(inputs[2:])
        result = self._convert_as_tvm_does("Conv", images, wide, opset)
        return self.bb.normalize(relax.op.squeeze(result, axis=[2]))

    def _check_for_unsupported_ops(self, graph: onnx.GraphProto) -> None:
        """Nothing: `tvm_check` has named every node that cannot be read, with its domain."""


def _clip(inputs: Inputs, attributes: Attributes) -> Expression:
    """Bounds x by one or two scalars (attributes up to opset 6, inputs from 11 on)."""
    x: Expression = inputs[0]
    low, high = (*inputs, None, None)[1:3]
    dtype = str(x.ty.dtype)
    low = relax.const(attributes["min"], dtype) if low is None and "min" in attributes else low
    high = relax.const(attributes["max"], dtype) if high is None and "max" in attributes else high
    x = x if low is None else relax.op.maximum(x, low)
    return x if high is None else relax.op.minimum(x, high)


def _gather(inputs: Inputs, attributes: Attributes) -> Expression:
    """Entries along one axis; an index beyond its ends reads the end."""
    data, indices = inputs[:2]
    shape = static_shape(data) or ()
    axis = int(attributes.get("axis", 0)) % len(shape)
    dtype = str(indices.ty.dtype)
    known = constant_value(indices)
    if known is None:
        from_end = relax.op.add(indices, relax.const(shape[axis], dtype))
        indices = relax.op.where(relax.op.less(indices, relax.const(0, dtype)), from_end, indices)
    elif known.min(initial=0) < 0:
        indices = relax.const(np.where(known < 0, known + shape[axis], known), dtype)
    return relax.op.take(data, indices, axis=axis, mode="clip")


def _squeeze(inputs: Inputs, attributes: Attributes) -> Expression:
    """Drops axes of extent 1 (attribute up to opset 12, input from 13 on)."""
    data, axes = (*inputs, None)[:2]
    known = attributes.get("axes") if axes is None else constant_value(axes)
    rank = len(static_shape(data) or ())
    return relax.op.squeeze(data, None if known is None else [int(axis) % rank for axis in np.ravel(known)])


def _conv_transpose(inputs: Inputs, attributes: Attributes) -> Expression | None:
    data, kernel, bias = (*inputs, None)[:3]
    weight = constant_value(kernel)
    if weight is None or not tvm_conv_transpose.fits(data, attributes):
        return None
    made = tvm_conv_transpose.convert(data, weight, attributes)
    return made if bias is None else relax.op.add(made, relax.op.reshape(bias, (1, -1, 1, 1)))


def _layer_norm(inputs: Inputs, attributes: Attributes) -> Expression:
    """Normalizes the last axes; scale and bias are broadcast, the further outputs (which nobody reads) are zero."""
    data, scale, bias = (*inputs, None)[:3]
    shape, axes = _normalized(data, attributes)
    scale = relax.op.broadcast_to(scale, shape)
    bias = relax.op.zeros(shape, "float32") if bias is None else relax.op.broadcast_to(bias, shape)
    result = relax.op.nn.layer_norm(data, scale, bias, axes, float(attributes.get("epsilon", 1e-5)))
    unread = relax.const(0.0, "float32")
    return relax.Tuple([result, unread, unread])


def _rms_norm(inputs: Inputs, attributes: Attributes) -> Expression:
    """Normalizes the last axes; under one more axis, for TVM cannot normalize them all."""
    data, scale = inputs[:2]
    shape, axes = _normalized(data, attributes)
    wider = relax.op.expand_dims(data, axis=0)
    scale = relax.op.broadcast_to(scale, shape)
    epsilon = float(attributes.get("epsilon", 1e-5))
    return relax.op.squeeze(relax.op.nn.rms_norm(wider, scale, [axis + 1 for axis in axes], epsilon), [0])


def _normalized(data: Expression, attributes: Attributes) -> tuple[Shape, list[int]]:
    """The shape of what is normalized, and its axes."""
    shape = static_shape(data) or ()
    first = int(attributes.get("axis", -1)) % len(shape)
    return shape[first:], list(range(first, len(shape)))


def _pairwise(step: Callable[[Expression, Expression], Expression]) -> Converter:
    return lambda inputs, attributes: functools.reduce(step, inputs)


def _mean(inputs: Inputs, attributes: Attributes) -> Expression:
    total = functools.reduce(relax.op.add, inputs)
    return relax.op.divide(total, relax.const(len(inputs), str(inputs[0].ty.dtype)))


def _swish(inputs: Inputs, attributes: Attributes) -> Expression:
    """Multiplies x by sigmoid(alpha * x)."""
    x, alpha = inputs[0], float(attributes.get("alpha", 1.0))
    scaled = x if alpha == 1.0 else relax.op.multiply(x, relax.const(alpha, str(x.ty.dtype)))
    return relax.op.multiply(x, relax.op.sigmoid(scaled))


CONVERTERS: Mapping[str, Converter] = {
    "Clip": _clip,
    "ConvTranspose": _conv_transpose,
    "Gather": _gather,
    "LayerNormalization": _layer_norm,
    "Max": _pairwise(relax.op.maximum),
    "Mean": _mean,
    "Min": _pairwise(relax.op.minimum),
    "RMSNormalization": _rms_norm,
    "Squeeze": _squeeze,
    "Sum": _pairwise(relax.op.add),
    "Swish": _swish,
}
