"""A float model whose activations go through the integers that hold them; its weights stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from npuopt.graph import Editor, Session, is_constant
from npuopt.graph.static_ends import with_static_ends
from npuopt.quantization.accuracy.sensitivity import decibels, relative_noise
from npuopt.quantization.arithmetic import STORAGE, dequantize, quantize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.graph import Model, Value
    from npuopt.quantization.accuracy.sensitivity import Arrays
    from npuopt.quantization.encodings import Encoding, Encodings

KEPT_BYTES = 64 * 2**20
"""Of the float model's outputs."""


class OutputNoise:
    """What rounding a model's activations does to its outputs, for one encoding after the other.

    For outputs that data sizes stands what they are computed from. What rounding the weights does is left out, and
    what rounding the outputs themselves does where it is not asked for.

    Args:
        model: the float model; it stays as it is.
        samples: both models run on each.
        threads: threads of the runtime, 0 for all cores.
        kept_bytes: of the float model's outputs that are kept, so that it runs once for each sample.
    """

    def __init__(
        self, model: Model, samples: Sequence[Arrays], *, threads: int = 0, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._model = with_static_ends(model)
        self._samples = samples
        self._threads = threads
        self._reference = Session(self._model, optimize=False, threads=threads)
        self._kept: dict[int, Arrays] = {}
        self._room = kept_bytes

    def sqnr_db(self, encodings: Encodings, count: int | None = None, *, outputs: bool = False) -> float:
        """Return the signal to noise in dB at the output that suffers most, on the first `count` samples.

        With `outputs`, these are rounded too.
        """
        held = Session(hold_activations(self._model, encodings), optimize=False, threads=self._threads)
        samples = self._samples[:count]
        made = map(held.run, samples)
        rounded = (_rounded(arrays, encodings) for arrays in made) if outputs else made
        noise = relative_noise(map(self._expected, range(len(samples))), rounded)
        return decibels(max(noise.values(), default=0.0))

    def _expected(self, index: int) -> Arrays:
        """Return what the float model makes of a sample."""
        if index in self._kept:
            return self._kept[index]
        made = self._reference.run(self._samples[index])
        size = sum(array.nbytes for array in made.values())
        if size <= self._room:
            self._kept[index] = {name: array.copy() for name, array in made.items()}
            self._room -= size
        return made


def hold_activations(model: Model, encodings: Encodings) -> Model:
    """Return a copy of the model in which every node reads its activations as they are held, or converted for it."""
    copy = model.clone()
    rounding = Rounding(copy)
    for node in list(copy.graph):
        converted = encodings.uses.get(node.outputs[0].name or "", {})
        for index, value in enumerate(node.inputs):
            if value is None or is_constant(value):
                continue
            read = value
            for encoding in (encodings.tensors.get(value.name or ""), converted.get(index)):
                if encoding is not None and encoding.axis is None:
                    read = rounding.rounded(read, encoding)
            node.replace_input_with(index, read)
    return copy


def _rounded(arrays: Arrays, encodings: Encodings) -> Arrays:
    held = {name: encodings.tensors.get(name) for name in arrays}
    return {
        name: array if (encoding := held[name]) is None else dequantize(quantize(array, encoding), encoding)
        for name, array in arrays.items()
    }


class Rounding:
    """Writes into a graph how tensors come back from their integers, once for each tensor and encoding."""

    def __init__(self, model: Model) -> None:
        self._edit = Editor(model)
        self._first = next(iter(model.graph))
        self._made: dict[tuple[Value, Encoding], Value] = {}

    def rounded(self, value: Value, encoding: Encoding) -> Value:
        """Return the tensor as its integers give it back."""
        key = (value, encoding)
        if key not in self._made:
            self._made[key] = self._new(value, encoding)
        return self._made[key]

    def _new(self, value: Value, encoding: Encoding) -> Value:
        scale = self._edit.constant(np.asarray(encoding.scale[0], np.float32), near=self._first)
        point = np.asarray(encoding.zero_point[0]).astype(STORAGE[encoding.dtype])
        constants = [scale, self._edit.constant(point, near=self._first)]
        maker = value.producer()
        if maker is None:
            integers = self._edit.emit("QuantizeLinear", [value, *constants], before=self._first)
            return self._edit.emit("DequantizeLinear", [integers, *constants], before=self._first)
        integers = self._edit.emit_after("QuantizeLinear", [value, *constants], after=maker)
        quantizer = integers.producer()
        assert quantizer is not None, "it was just made"  # noqa: S101 -- for the type alone
        return self._edit.emit_after("DequantizeLinear", [integers, *constants], after=quantizer)
