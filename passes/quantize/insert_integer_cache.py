"""Holds the caches of a decoder as integers, outside of the graph too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_ir as ir

from npuopt.graph import Builder, Editor, element_type, input_at, is_op, producer
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.arithmetic import STORAGE
from npuopt.quantization.encodings import Encoding

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertIntegerCache(Pass):
    """Keys and values go into the graph, stay in their cache and come out as integers.

    `float past -> readers`, `k -> float present` becomes `uint8 past -> DequantizeLinear -> readers`, `k ->
    QuantizeLinear -> uint8 present`; whatever else read k reads it as the cache will give it back, so that a token is
    seen alike in the run that made it and in all later ones. A TensorScatter into the cache, or a Slice of it joined
    with what is new, moves integers.

    Left alone: caches that the graph does not take or give back, and those that are integers already.

    Attributes:
        caches: the output that gives a cache back, by the input that takes it.
        encodings: how each cache is held, by the same input.
    """

    name: ClassVar[str] = "insert-integer-cache"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    keeps_interface: ClassVar[bool] = False

    caches: Mapping[str, str] = field(default_factory=dict[str, str])
    encodings: Mapping[str, Encoding] = field(default_factory=dict[str, Encoding])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Hold every cache."""
        del target  # encodings say all there is to say
        report, edit = Report(self.name), Editor(model)
        for given, made in self.caches.items():
            source = next((value for value in model.graph.inputs if value.name == given), None)
            result = next((value for value in model.graph.outputs if value.name == made), None)
            if source is None or result is None or given not in self.encodings:
                report.declined.append(Entry(given, "input", "the graph does not take it and give it back"))
            elif not _is_float(source) or (maker := result.producer()) is None:
                report.declined.append(Entry(given, "input", "it is no cache of floats"))
            else:
                _Cache(model, edit, self.encodings[given], source, result, maker).hold()
                report.changed.append(Entry(given, "input", f"held as {self.encodings[given].dtype}"))
        return report


def _is_float(value: Value) -> bool:
    kind = element_type(value)
    return kind is not None and kind.is_floating_point()


class _Cache:
    """One cache: what takes it, what gives it back."""

    def __init__(self, model: Model, edit: Editor, held: Encoding, source: Value, result: Value, maker: Node) -> None:
        self._model, self._edit, self._held = model, edit, held
        self._source, self._result, self._maker = source, result, maker
        near = model.graph[0]
        kind, storage = element_type(source) or ir.DataType.FLOAT, STORAGE[held.dtype]
        scale = np.array(held.scale if held.axis is not None else held.scale[0], kind.numpy())
        zero_point = np.broadcast_to(np.array(held.zero_point).reshape(scale.shape or ()), scale.shape)
        self._parameters = (
            edit.constant(scale, near=near, name=f"{source.name}/cache_scale"),
            edit.constant(zero_point.astype(storage), near=near, name=f"{source.name}/cache_zero_point"),
        )
        self._type = ir.DataType.from_numpy(storage)

    def hold(self) -> None:
        """Take the cache in and give it back as integers."""
        taken, floats = self._take()
        maker, first = self._maker, input_at(self._maker, 0)
        kept = producer(first, "Slice")
        if is_op(maker, "TensorScatter") and first is floats:
            self._give_back(self._moved(taken))
        elif is_op(maker, "Concat") and kept is not None and kept.inputs[0] is floats:
            self._give_back(self._moved(Builder(self._edit, maker)("Slice", taken, *kept.inputs[1:])))
        else:
            self._give_back(None)
        self._edit.erase_unread(floats.producer())

    def _take(self) -> tuple[Value, Value]:
        """Replace the float input by one of integers; return it, and what it stands for."""
        inputs, source = self._model.graph.inputs, self._source
        place = next(index for index, value in enumerate(inputs) if value is source)
        uses, name = list(source.uses()), source.name
        source.name = self._edit.fresh_name(f"{name}/floats")
        taken = ir.Value(name=name, shape=source.shape, type=ir.TensorType(self._type))
        inputs[place] = taken
        build = Builder(self._edit, self._model.graph[0])
        floats = build("DequantizeLinear", taken, *self._parameters, axis=self._held.axis)
        for use in uses:
            use.node.replace_input_with(use.idx, floats)
        return taken, floats

    def _moved(self, cache: Value) -> Value:
        """Return the cache with what is new in it, all in integers."""
        node = self._maker
        build = Builder(self._edit, node)
        fresh = build("QuantizeLinear", node.inputs[1], *self._parameters, axis=self._held.axis)
        return build(node.op_type, cache, fresh, *node.inputs[2:], **dict(node.attributes))

    def _give_back(self, integers: Value | None) -> None:
        """Make integers the graph's output; who read the floats reads what the integers stand for."""
        result, outputs = self._result, self._model.graph.outputs
        passed = input_at(self._maker, 0) if is_op(self._maker, "Identity") else None
        floats = result if passed is None else passed
        uses = [use for use in floats.uses() if use.node is not self._maker]
        if integers is None:
            integers = self._behind(floats, "QuantizeLinear")
        again = self._behind(integers, "DequantizeLinear")
        for use in uses:
            use.node.replace_input_with(use.idx, again)
        outputs[next(index for index, value in enumerate(outputs) if value is result)] = integers
        name, result.name = result.name, self._edit.fresh_name(f"{result.name}/floats")
        integers.name, integers.shape = name, result.shape
        for node in (again.producer(), self._maker):
            self._edit.erase_unread(node)

    def _behind(self, value: Value, op_type: str) -> Value:
        """Put a node just behind what makes a value; at the start where it is an input."""
        maker, axis = value.producer(), {"axis": self._held.axis}
        inputs = [value, *self._parameters]
        if maker is None:
            return self._edit.emit(op_type, inputs, axis, before=self._model.graph[0])
        return self._edit.emit_after(op_type, inputs, axis, after=maker)
