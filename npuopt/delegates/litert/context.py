"""What emitters write through: it finds or makes the tensors that hold ONNX values and adds operators.

Transposes are lazy. A tensor remembers the order of its axes, a Transpose of a value is a note about that order, and
data is moved only where an operator asks for another order than the one there is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from npuopt.delegates.litert.flat import Encoding, FlatModel, FlatOperator
from npuopt.delegates.litert.values import (
    Held,
    Order,
    constant_encoding,
    dequantizer,
    element,
    encoding_of,
    expanded,
    is_float,
    numbers,
    plain,
    quantizers_of,
    shape_of,
)
from npuopt.delegates.litert.versions import version
from npuopt.errors import InputError
from npuopt.graph import input_at, is_constant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.delegates.litert.flat import Option
    from npuopt.graph import Node, Value


@dataclass(frozen=True)
class Result:
    """What an operator makes.

    Attributes:
        value: the ONNX value.
        order: of the axes of what the operator writes.
        encoding: the one that the operator writes in, where it has no choice.
    """

    value: Value
    order: Order
    encoding: Encoding | None = None


@dataclass
class Context:
    """One export under way.

    Attributes:
        flat: the model that is written.
        integers: whether the node under way is computed in integers.
        kind: the element type of its activations then, or `float32`.
        interpreted: by LiteRT: 8-bit integers get another encoding by way of float, as its QUANTIZE between integers
            rounds twice, 0.3 % of 16-bit numbers a step off. Compilers of NPUs want the one operator.
        folded_means: by Vela: means over few positions are depthwise convolutions, as it makes slower ones of MEAN.
    """

    flat: FlatModel = field(default_factory=FlatModel)
    integers: bool = False
    kind: str = "float32"
    interpreted: bool = False
    folded_means: bool = False
    _inputs: dict[Value, tuple[Value, Encoding]] = field(default_factory=dict["Value", "tuple[Value, Encoding]"])
    _same: dict[Value, Value] = field(default_factory=dict["Value", "Value"])
    _held: dict[Value, dict[Order, Held]] = field(default_factory=dict["Value", dict[Order, Held]])

    def start(self, *, integers: bool, kind: str) -> None:
        """Begin a node."""
        self.integers, self.kind = integers, kind

    # Graph inputs and outputs

    def quantized_input(self, value: Value, quantizers: Sequence[Node]) -> None:
        """Make an integer input of one that is only quantized, by these nodes and with one encoding."""
        first = quantizers[0].outputs[0]
        self._inputs[first] = (value, encoding_of(quantizers[0]))
        for other in quantizers[1:]:
            self._same[other.outputs[0]] = first

    def input_of(self, value: Value) -> Held:
        """Return the tensor of a graph input."""
        stored = next((first for first, (given, _) in self._inputs.items() if given is value), value)
        return self._find(stored, None, None)

    def output_of(self, value: Value) -> Held:
        """Return the tensor of a graph output: integers where it is only dequantized from them."""
        return self.stored(value) if dequantizer(value) is not None else self._find(value, None, None)

    def copy(self, held: Held, name: str) -> Held:
        """Return a tensor of its own with the same data in ONNX's order of axes."""
        held = self.reorder(held, plain(held.rank))
        index = self.flat.add(name, held.shape, held.dtype, held.encoding)
        inputs = [held.index, self.integer_list(held.shape, "shape")]
        self.operator("RESHAPE", inputs, [index], held.dtype, newShape=held.shape)
        return Held(index, held.shape, held.dtype, held.encoding, held.order)

    # Finding tensors

    def read(self, value: Value, order: Order | None = None) -> Held:
        """Return a tensor of a run-time or constant value: its integers when the node is computed in integers.

        Args:
            value: an input of the node.
            order: the order of axes wanted; any that there is when None, and that of ONNX when there is none yet.
        """
        maker = dequantizer(value)
        if maker is not None and (self.integers or not is_float(value)):
            return self.stored(value, order)
        if maker is not None:
            return self._dequantized(value, order)
        if self.integers and is_float(value) and is_constant(value):
            return self._quantized_constant(value, order)
        return self._find(value, None, order)

    def stored(self, value: Value, order: Order | None = None) -> Held:
        """Return the integers that a value is read from."""
        maker = dequantizer(value)
        source = input_at(maker, 0) if maker is not None else None
        if maker is None or source is None:
            raise InputError("is not read from integers", where=value.name or "")
        return self._find(source, encoding_of(maker), order)

    def known_order(self, value: Value) -> Order | None:
        """Return the order of axes in which a run-time value lies, or None when it is free to choose."""
        maker = dequantizer(value)
        source = input_at(maker, 0) if maker is not None else value
        if source is None or is_constant(source):
            return None
        return next(iter(self._held.get(self._same.get(source, source), ())), None)

    def constant(self, array: np.ndarray, name: str = "constant", encoding: Encoding | None = None) -> int:
        """Return the tensor of a constant that only TFLite has, such as axes."""
        return self.flat.constant(name, array, encoding)

    def integer_list(self, numbers: Sequence[int], name: str = "constant") -> int:
        """Return an int32 vector."""
        return self.constant(np.array(numbers, np.int32), name)

    # Writing operators

    def operator(self, name: str, inputs: Sequence[int], outputs: Sequence[int], kind: str, **options: Option) -> None:
        """Add an operator; `kind` is the element type that its version depends on."""
        given = FlatOperator(name, version(name, kind, options), tuple(inputs), tuple(outputs), options)
        self.flat.operators.append(given)

    def emit(self, name: str, inputs: Sequence[int], *results: Result, kind: str = "", **options: Option) -> None:
        """Add an operator that makes ONNX values, and what it takes to hold them in their own encodings."""
        made = [self._target(result) for result in results]
        self.operator(name, inputs, [held.index for held in made], kind or made[0].dtype, **options)
        for result, held in zip(results, made, strict=True):
            self.bind(result.value, held)

    def intermediate(self, name: str, like: Held, shape: Sequence[int], encoding: Encoding | None = None) -> Held:
        """Add a tensor that only TFLite has."""
        index = self.flat.add(name, shape, like.dtype, encoding or like.encoding)
        return Held(index, tuple(shape), like.dtype, encoding or like.encoding, plain(len(shape)))

    def bind(self, value: Value, held: Held) -> None:
        """Note that a tensor holds an output of the node, quantizing it again where the graph wants it otherwise."""
        if not (self.integers and is_float(value)):
            self._held.setdefault(value, {})[held.order] = held
            return
        for quantizer in quantizers_of(value):
            wanted = encoding_of(quantizer)
            stored = quantizer.outputs[0]
            same = held.encoding == wanted and held.dtype == element(stored)
            kept = held if same else self._requantized(held, element(stored), wanted, stored.name or "")
            self._held.setdefault(stored, {})[kept.order] = kept

    def requantize(self, held: Held, encoding: Encoding) -> Held:
        """Return the tensor in another encoding of the same type."""
        if held.encoding == encoding:
            return held
        return self._requantized(held, held.dtype, encoding, f"{self._name(held)}_requantized")

    def reorder(self, held: Held, order: Order) -> Held:
        """Return the tensor with its axes in another order."""
        if held.order == order:
            return held
        if held.rank < len(order):
            return self.reorder(self._expanded(self.reorder(held, plain(held.rank)), len(order)), order)
        permutation = [held.order.index(axis) for axis in order]
        shape = tuple(held.shape[axis] for axis in permutation)
        index = self.flat.add(f"{self._name(held)}_transposed", shape, held.dtype, held.encoding)
        moved = [axis for axis in permutation if held.shape[axis] != 1]
        if moved == sorted(moved):  # only axes of one element change places
            self.operator("RESHAPE", [held.index, self.integer_list(shape)], [index], held.dtype, newShape=shape)
        else:
            self.operator("TRANSPOSE", [held.index, self.integer_list(permutation)], [index], held.dtype)
        return Held(index, shape, held.dtype, held.encoding, order)

    def wanted_encoding(self, value: Value) -> Encoding | None:
        """Return the encoding that an output of the node is to have, or None in float."""
        found = quantizers_of(value) if self.integers and is_float(value) else []
        return encoding_of(found[0]) if found else None

    def output_type(self, value: Value) -> str:
        """Return the element type that an output of the node is held as."""
        found = quantizers_of(value) if self.integers and is_float(value) else []
        return element(found[0].outputs[0]) if found else element(value)

    def quantize(self, value: Value, stored: Value, encoding: Encoding) -> None:
        """Write a QuantizeLinear of a value that is held in float, or in integers of another encoding."""
        held = self.output_of(value)
        self._held.setdefault(stored, {})[held.order] = self._requantized(
            held, element(stored), encoding, stored.name or ""
        )

    def has(self, value: Value) -> bool:
        """Say whether a value is held already."""
        return self._same.get(value, value) in self._held

    # Inside

    def _find(self, value: Value, encoding: Encoding | None, order: Order | None) -> Held:
        value = self._same.get(value, value)
        forms = self._held.setdefault(value, {})
        if not forms:
            if not (is_constant(value) or value.is_graph_input() or value in self._inputs):
                raise InputError("is read before it is made", where=value.name or "")
            wanted = order or plain(len(shape_of(value)))
            forms[wanted] = self._source(value, encoding, wanted)
        if order is None:
            return next(iter(forms.values()))
        if order not in forms:
            if is_constant(value):
                forms[order] = self._source(value, encoding, order)
            else:
                forms[order] = self.reorder(next(iter(forms.values())), order)
        return forms[order]

    def _source(self, value: Value, encoding: Encoding | None, order: Order) -> Held:
        """Add the tensor of a graph input or a constant."""
        name, dtype = value.name or "", element(value)
        given = shape_of(value)
        added = len(order) - len(given)
        shape = tuple(((1,) * added + given)[axis] for axis in order)
        if not is_constant(value):
            if value in self._inputs:
                name, encoding = self._inputs[value][0].name or "", self._inputs[value][1]
            index = self.flat.add(name, shape, dtype, encoding)
        else:
            if encoding is not None and not encoding.per_tensor:
                encoding = Encoding(encoding.scales, encoding.zero_points, order.index(encoding.axis + added))
            make = lambda: expanded(numbers(value), order).transpose(order)  # noqa: E731 -- made when it is written
            index = self.flat.add(name, shape, dtype, encoding, make)
        return Held(index, shape, dtype, encoding, order)

    def _expanded(self, held: Held, depth: int) -> Held:
        """Return a tensor in ONNX's order with axes of one element ahead, as broadcasting adds them."""
        shape = (1,) * (depth - held.rank) + held.shape
        index = self.flat.add(f"{self._name(held)}_expanded", shape, held.dtype, held.encoding)
        self.operator("RESHAPE", [held.index, self.integer_list(shape)], [index], held.dtype, newShape=shape)
        return Held(index, shape, held.dtype, held.encoding, plain(depth))

    def _dequantized(self, value: Value, order: Order | None) -> Held:
        if value not in self._held:
            source = self.stored(value, order)
            index = self.flat.add(value.name or "", source.shape, element(value))
            self.operator("DEQUANTIZE", [source.index], [index], source.dtype)
            self._held[value] = {source.order: Held(index, source.shape, element(value), None, source.order)}
        return self._find(value, None, order)

    def _quantized_constant(self, value: Value, order: Order | None) -> Held:
        """Hold a small float constant beside integers: symmetric, in 8 or 16 bits as the node's other tensors."""
        array = expanded(numbers(value), order).astype(np.float64)
        encoding, highest = constant_encoding(value, self.kind), np.iinfo(self.kind).max
        integers = np.clip(np.rint(array / encoding.scale), -highest, highest).astype(self.kind)
        wanted = order or plain(array.ndim)
        index = self.flat.constant(value.name or "", integers.transpose(wanted).copy(), encoding)
        return Held(index, tuple(array.shape[axis] for axis in wanted), self.kind, encoding, wanted)

    def _target(self, result: Result) -> Held:
        shape = tuple(shape_of(result.value)[axis] for axis in result.order)
        dtype = self.output_type(result.value)
        encoding = result.encoding or self.wanted_encoding(result.value)
        index = self.flat.add(result.value.name or "", shape, dtype, encoding)
        return Held(index, shape, dtype, encoding, result.order)

    def _requantized(self, held: Held, dtype: str, encoding: Encoding, name: str) -> Held:
        source = held.index
        if self.interpreted and held.encoding is not None and dtype == "int8":
            source = self.flat.add(f"{name}_rescaled", held.shape, "float32")
            self.operator("DEQUANTIZE", [held.index], [source], held.dtype)
        index = self.flat.add(name, held.shape, dtype, encoding)
        self.operator("QUANTIZE", [source], [index], dtype)
        return Held(index, held.shape, dtype, encoding, held.order)

    def _name(self, held: Held) -> str:
        return self.flat.tensors[held.index].name
