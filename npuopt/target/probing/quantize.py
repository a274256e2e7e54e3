"""Puts one node between QuantizeLinear and DequantizeLinear as a scheme and the op's own rule want it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from npuopt.target.probing.build import is_float_info, make_node, value_info, wrap
from npuopt.target.probing.case import Data, Fixed, Parameter
from npuopt.target.schema import OpQuantization, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.target.probing.build import Array, Draft
    from npuopt.target.probing.case import Attribute

LEVELS = {
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (2, 4, 8, 16)},
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (2, 4, 8, 16, 32)},
}
"""Least and greatest stored value by element type."""
UNKNOWN_RANGE = (-4.0, 4.0)
"""Range of an output that ONNX Runtime cannot compute."""


@dataclass(frozen=True)
class Encoding:
    """How a tensor is stored: scale and zero point, one each or one for each item along `axis`."""

    dtype: str
    scale: Array
    zero_point: Array
    axis: int | None = None


@dataclass
class Quantizer:
    """Quantizes drafts for one scheme.

    Attributes:
        name: of the scheme.
        scheme: what activations, weights and biases are stored as.
        wants: where the op's rule differs; None to go by the roles of the case.
    """

    name: str
    scheme: Scheme
    wants: OpQuantization | None = None
    _nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    _initializers: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def quantize(self, draft: Draft, made: Mapping[str, Array]) -> onnx.ModelProto:
        """Return the draft with its float inputs and outputs quantized; graph inputs and outputs stay float.

        Args:
            draft: the node in float.
            made: its outputs in float, which set the ranges of their encodings.
        """
        self._nodes, self._initializers = [], []
        inputs = self._inputs(draft)
        ranges = output_ranges(draft, made)
        node = draft.node()
        first = next((one for name, one in inputs.items() if name in draft.sample), next(iter(inputs.values()), None))
        for index, name in enumerate(draft.names):
            if name in inputs:
                node.input[index] = f"{name}_real"
        self._nodes.append(node)
        for index, info in enumerate(draft.output_infos):
            if is_float_info(info):
                node.output[index] = f"{info.name}_real"
                self._output(info.name, first if self._shares(draft) else None, ranges[info.name])
        constants = [
            numpy_helper.from_array(array, name) for name, array in draft.constants.items() if name not in inputs
        ]
        graph_inputs = [value_info(name, array) for name, array in draft.sample.items()]
        graph = helper.make_graph(
            self._nodes, "question", graph_inputs, draft.output_infos, [*constants, *self._initializers]
        )
        return wrap(graph, draft.case.domain)

    def _shares(self, draft: Draft) -> bool:
        return draft.case.moves if self.wants is None else self.wants.share

    def _inputs(self, draft: Draft) -> dict[str, Encoding]:
        """Quantize float inputs; returns their encodings."""
        encodings: dict[str, Encoding] = {}
        activation = self._activation()
        shared = _union(draft) if self._shares(draft) else None
        for index, (name, item) in enumerate(zip(draft.names, draft.case.inputs, strict=False)):
            if item is None or isinstance(item, Fixed) or item.dtype != "float32":
                continue
            if isinstance(item, Data):
                own = (self.wants.inputs.get(index) or {}).get(self.name) if self.wants else None
                encodings[name] = self._exact(
                    activation_encoding(own or activation, *(shared or (item.low, item.high)))
                )
                self._quantize(name, f"{name}_real", encodings[name])
                continue
            encodings[name] = self._exact(self._parameter(index, item, draft.constants[name], encodings, draft))
            self._dequantize_constant(name, draft.constants[name], encodings[name])
        return encodings

    def _exact(self, encoding: Encoding) -> Encoding:
        """Return the encoding with the scales that the scheme takes: where powers of two, the next larger ones."""
        if not self.scheme.power_of_two:
            return encoding
        return replace(encoding, scale=np.exp2(np.ceil(np.log2(encoding.scale))))

    def _activation(self) -> str:
        return (self.wants.activation.get(self.name) if self.wants else None) or self.scheme.activation

    def _parameter(
        self, index: int, item: Parameter, values: Array, known: dict[str, Encoding], draft: Draft
    ) -> Encoding:
        wants, role = self.wants, item.role
        if wants is not None and (wants.weights or wants.bias is not None):
            role = "weight" if index in wants.weights else "bias" if index == wants.bias else "activation"
        if role == "activation":
            return activation_encoding(self._activation(), item.low, item.high)
        if role == "bias":
            if self.scheme.bias is not None and not self.scheme.accumulates_bias:
                return activation_encoding(self.scheme.bias, float(values.min()), float(values.max()))
            data, weight = known.get(draft.names[0]), known.get(draft.names[1])
            if self.scheme.bias is None or data is None or weight is None or not _one_each(values, weight):
                return activation_encoding(self._activation(), item.low, item.high)
            return bias_encoding(self.scheme.bias, data, weight)
        dtype = (wants.weight if wants else None) or self.scheme.weight or self._activation()
        symmetric = self.scheme.weight_symmetric
        if wants is not None and wants.weight_symmetric is not None:
            symmetric = wants.weight_symmetric
        if not symmetric:
            return activation_encoding(dtype, float(values.min()), float(values.max()))
        axis_kind = (wants.weight_axis if wants else None) or self.scheme.weight_axis
        return weight_encoding(dtype, values, item.channel if axis_kind == "channel" else None)

    def _output(self, name: str, shared: Encoding | None, range_: tuple[float, float]) -> None:
        fixed = self.wants.output.get(self.name) if self.wants else None
        encoding = shared or self._exact(activation_encoding(self._activation(), *range_))
        if fixed is not None:
            encoding = Encoding(self._activation(), np.asarray(fixed.scale), np.asarray(fixed.zero_point))
        self._quantize(f"{name}_real", name, encoding)

    def _quantize(self, source: str, result: str, encoding: Encoding) -> None:
        """Store `source` and read it back as `result`."""
        scale, zero_point = self._add_encoding(result, encoding)
        stored = f"{result}_stored"
        self._nodes.append(make_node("QuantizeLinear", [source, scale, zero_point], [stored], f"{result}_q"))
        self._nodes.append(make_node("DequantizeLinear", [stored, scale, zero_point], [result], f"{result}_dq"))

    def _dequantize_constant(self, name: str, values: Array, encoding: Encoding) -> None:
        scale, zero_point = self._add_encoding(name, encoding)
        low, high = LEVELS[encoding.dtype]
        steps = np.rint(values / _along(encoding.scale, encoding.axis, values))
        stored = np.clip(steps + _along(encoding.zero_point, encoding.axis, values), low, high)
        self._initializers.append(tensor(f"{name}_stored", stored, encoding.dtype))
        axis: dict[str, Attribute] = {} if encoding.axis is None else {"axis": encoding.axis}
        inputs = [f"{name}_stored", scale, zero_point]
        self._nodes.append(make_node("DequantizeLinear", inputs, [f"{name}_real"], f"{name}_dq", axis))

    def _add_encoding(self, name: str, encoding: Encoding) -> tuple[str, str]:
        scale, zero_point = f"{name}_scale", f"{name}_zero"
        self._initializers.append(numpy_helper.from_array(encoding.scale.astype(np.float32), scale))
        self._initializers.append(tensor(zero_point, encoding.zero_point, encoding.dtype))
        return scale, zero_point


def tensor(name: str, values: Array, dtype: str) -> onnx.TensorProto:
    """Make a tensor of any integer type, 4-bit ones included."""
    kind = onnx.TensorProto.DataType.Value(dtype.upper())
    return helper.make_tensor(name, kind, values.shape, values.astype(np.int64).reshape(-1).tolist())


def activation_encoding(dtype: str, low: float, high: float) -> Encoding:
    """Cover a range, zero included, with one scale and one zero point."""
    lowest, highest = LEVELS[dtype]
    low, high = min(low, 0.0), max(high, 0.0)
    if dtype.startswith("int"):
        return Encoding(dtype, np.asarray(max(-low, high, 1e-6) / highest), np.zeros((), np.int64))
    scale = max(high - low, 1e-6) / (highest - lowest)
    return Encoding(dtype, np.asarray(scale), np.asarray(round(lowest - low / scale)))


def weight_encoding(dtype: str, values: Array, channel: int | None) -> Encoding:
    """Cover the largest magnitude symmetrically, of all values or of each channel."""
    lowest, highest = LEVELS[dtype]
    axis = None if channel is None else channel % values.ndim
    others = None if axis is None else tuple(one for one in range(values.ndim) if one != axis)
    largest: Array = np.asarray(np.maximum(np.abs(values).max(axis=others), 1e-6))
    if lowest < 0:
        return Encoding(dtype, largest / highest, np.zeros(largest.shape, np.int64), axis)
    middle = (highest + 1) // 2
    return Encoding(dtype, largest / (middle - 1), np.full(largest.shape, middle), axis)


def bias_encoding(dtype: str, data: Encoding, weight: Encoding) -> Encoding:
    """Store a bias in units of the products that it is added to."""
    scale = np.asarray(data.scale * weight.scale)
    return Encoding(dtype, scale, np.zeros(scale.shape, np.int64), None if scale.ndim == 0 else 0)


def output_ranges(draft: Draft, made: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
    """Return the least and greatest finite value of each float output."""
    ranges = {info.name: UNKNOWN_RANGE for info in draft.output_infos}
    for name, values in made.items():
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if values.dtype.kind == "f" and finite.size:
            ranges[name] = (float(finite.min()), float(finite.max()))
    return ranges


def _union(draft: Draft) -> tuple[float, float]:
    items = [item for item in draft.case.inputs if isinstance(item, Data | Parameter) and item.dtype == "float32"]
    return min(item.low for item in items), max(item.high for item in items)


def _one_each(bias: Array, weight: Encoding) -> bool:
    """Say whether a bias has one value for each scale of the weight."""
    return bias.ndim == 1 and weight.scale.size in (1, bias.size)


def _along(values: Array, axis: int | None, like: Array) -> Array:
    """Shape per-channel values so that they broadcast along `axis` of `like`."""
    if axis is None or values.ndim == 0:
        return values
    return values.reshape([-1 if one == axis else 1 for one in range(like.ndim)])
