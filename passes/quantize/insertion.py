"""One run over a graph into which pairs of QuantizeLinear and DequantizeLinear are put."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import Editor, input_at, is_constant, release_mapped, static_shape
from npuopt.passes.quantize.held_values import by_use, is_held_in, is_quantized
from npuopt.passes.quantize.quantize_pairs import QuantizePairs
from npuopt.pipeline import Entry, Report
from npuopt.quantization.arithmetic import STORAGE, quantize
from npuopt.quantization.assignment.weights import numbers
from npuopt.quantization.roles import is_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.encodings import Encoding, Encodings

    Numbers = tuple[float, ...]


class Insertion:
    """One run of the pass over one model."""

    def __init__(self, model: Model, encodings: Encodings, integers: Mapping[str, np.ndarray], report: Report) -> None:
        self._model = model
        self._encodings = encodings
        self._integers_given = integers
        self._report = report
        self._edit = Editor(model)
        self._pairs = QuantizePairs(self._edit)
        self._held: dict[tuple[Value, Encoding, Numbers], Value] = {}
        # Looked up now: a graph output's maker loses the name to the DequantizeLinear behind it.
        self._uses = dict(by_use(model, encodings.uses))
        self._corrections = dict(by_use(model, encodings.corrections))

    def activations(self) -> None:
        """Put a pair behind every activation that has an encoding."""
        made = [output for node in self._model.graph for output in node.outputs]
        for value in (*self._model.graph.inputs, *made):
            encoding = self._encodings.tensors.get(value.name or "")
            if encoding is None or is_quantized(value):
                continue
            self._note(value, encoding)
            dequantized = self._pairs.behind(value, encoding, first=self._first)
            quantizer = cast("Node", cast("Node", dequantized.producer()).inputs[0].producer())  # pyright: ignore[reportOptionalMemberAccess] -- made by _pair
            self._edit.replace(value, dequantized)
            quantizer.replace_input_with(0, value)

    def constants(self) -> None:
        """Hold every constant that has an encoding as integers, once for each encoding in which it is read."""
        for name, value in list(self._model.graph.initializers.items()):
            if not is_constant(value):
                continue
            made: list[Value] = []
            for node, index, encoding in list(self._reads(value)):
                made.append(self._integers(value, encoding, self._corrections.get((node, index), ())))
                node.replace_input_with(index, made[-1])
            release_mapped([value])  # its numbers are not needed again
            if made and not value.uses() and not value.is_graph_output():
                del self._model.graph.initializers[name]
                made[0].name = name

    def conversions(self) -> None:
        """Let a use whose activation is wanted otherwise than it is held read through a pair of its own."""
        for (node, index), encoding in self._uses.items():
            value = input_at(node, index)
            if value is None or is_constant(value) or is_held_in(value, encoding):
                continue
            self._note(value, encoding)
            node.replace_input_with(index, self._pairs.between(value, encoding, reader=node))

    def _reads(self, value: Value) -> Iterator[tuple[Node, int, Encoding]]:
        """Yield the uses of a constant that read it as integers, with the encoding of each."""
        own = self._encodings.tensors.get(value.name or "")
        for use in value.uses():
            encoding = self._uses.get((use.node, use.idx), own)
            if encoding is not None and not is_parameter(use.node, use.idx):
                yield use.node, use.idx, encoding

    def _integers(self, value: Value, encoding: Encoding, correction: Numbers) -> Value:
        """Return the constant, with what is to be added to it, as integers behind a DequantizeLinear."""
        key = (value, encoding, correction)
        if key not in self._held:
            self._note(value, encoding)
            first = self._first
            array = self._rounded(value, encoding, correction)
            held = self._edit.constant(array, near=first, name=f"{value.name}/quantized")
            self._held[key] = self._pairs.dequantized(held, encoding, value, before=first)
        return self._held[key]

    def _rounded(self, value: Value, encoding: Encoding, correction: Numbers) -> np.ndarray:
        """Return the constant's integers: those given, or the nearest.

        Raises:
            InputError: when integers are given that do not fit.
        """
        given = self._integers_given.get(value.name or "")
        if given is None:
            array = numbers(value)
            if correction:
                array = array + np.asarray(correction).reshape(array.shape)
            return quantize(array, encoding)
        if given.shape != static_shape(value) or given.dtype != STORAGE[encoding.dtype]:
            raise InputError(
                f"integers {given.dtype}{list(given.shape)} were given for a constant of shape "
                f"{list(static_shape(value) or ())} that is held in {encoding.dtype}",
                where=value.name or "",
            )
        return given

    @property
    def _first(self) -> Node:
        return next(iter(self._model.graph))

    def _note(self, value: Value, encoding: Encoding) -> None:
        kind = "constant" if is_constant(value) else "activation"
        low, high = encoding.range
        text = (
            f"{encoding.dtype}{'' if encoding.axis is None else f' by axis {encoding.axis}'}, {low:.6g} to {high:.6g}"
        )
        self._report.changed.append(Entry(value.name or "", kind, text))
