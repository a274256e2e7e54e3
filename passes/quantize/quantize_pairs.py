"""Pairs of QuantizeLinear and DequantizeLinear; equal encodings have their constants in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.quantization.arithmetic import STORAGE

if TYPE_CHECKING:
    from npuopt.graph import Editor, Node, Value
    from npuopt.quantization.encodings import Encoding


class QuantizePairs:
    """Writes pairs into one graph.

    Args:
        edit: writes into the graph.
    """

    def __init__(self, edit: Editor) -> None:
        self._edit = edit
        self._parameters: dict[Encoding, list[Value]] = {}

    def behind(self, value: Value, encoding: Encoding, *, first: Node) -> Value:
        """Put a pair behind the maker of `value`, or ahead of the graph's first node for a graph input."""
        maker = value.producer()
        if maker is None:
            scale = self._scale(encoding, value, first)
            quantized = self._edit.emit("QuantizeLinear", [value, *scale], before=first, name=value.name or "")
            return self.dequantized(quantized, encoding, value, before=first)
        scale = self._scale(encoding, value, maker)
        quantized = self._edit.emit_after("QuantizeLinear", [value, *scale], after=maker, name=value.name or "")
        quantizer = cast("Node", quantized.producer())
        return self._edit.emit_after("DequantizeLinear", [quantized, *scale], after=quantizer, name=value.name or "")

    def between(self, value: Value, encoding: Encoding, *, reader: Node) -> Value:
        """Put a pair ahead of one reader of `value`."""
        quantized = self._edit.emit("QuantizeLinear", [value, *self._scale(encoding, value, reader)], before=reader)
        return self.dequantized(quantized, encoding, value, before=reader)

    def dequantized(self, integers: Value, encoding: Encoding, value: Value, *, before: Node) -> Value:
        """Return the numbers that the integers of `value` stand for."""
        axis = {} if encoding.axis is None else {"axis": encoding.axis}
        inputs = [integers, *self._scale(encoding, value, before)]
        return self._edit.emit("DequantizeLinear", inputs, axis, before=before, name=value.name or "")

    def _scale(self, encoding: Encoding, value: Value, near: Node) -> list[Value]:
        """Return the scale and the zero point as initializers."""
        if encoding not in self._parameters:
            shape = () if encoding.axis is None else (len(encoding.scale),)
            scale = np.asarray(encoding.scale, np.float32).reshape(shape)
            zero_point = np.broadcast_to(
                np.asarray(encoding.zero_point, np.int64).reshape(() if len(encoding.zero_point) == 1 else shape), shape
            )
            self._parameters[encoding] = [
                self._edit.constant(scale, near=near, name=f"{value.name}/scale"),
                self._edit.constant(
                    zero_point.astype(STORAGE[encoding.dtype]), near=near, name=f"{value.name}/zero_point"
                ),
            ]
        return self._parameters[encoding]
