"""One profile of a language model as the body of a loop: what its static graph takes is made from a growing cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.bundle.language_model import CacheTensor, LanguageModelRecord, Profile

END = 2**62
"""A place behind every other one."""


def cache_type(cache: CacheTensor) -> int:
    """Return the ONNX element type of a cache."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(cache.dtype))


def outside(name: str) -> str:
    """Return the name of a value that the loops read and the profiles do not know."""
    return f"generation/{name}"


class ProfileBody:
    """The body of the loop that runs one profile over its share of the tokens.

    From outside it reads `tokens` (padded), `start` (tokens held before all loops), `count` (new tokens) and
    `<profile>_begin` (new tokens that other loops took).

    Args:
        record: what the artifact says of its language model.
        profile: the profile.
        source: its graph.
        shared: constants that live outside.
    """

    def __init__(
        self,
        record: LanguageModelRecord,
        profile: Profile,
        source: onnx.ModelProto,
        shared: Mapping[str, onnx.TensorProto],
    ) -> None:
        self._record, self._profile, self._source = record, profile, source
        self._shared = frozenset(shared)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def graph(self) -> onnx.GraphProto:
        """Return the body."""
        record, size = self._record, self._profile.sequence
        before = [self._name(f"drive/before_{index}") for index in range(len(record.caches))]
        self._places()
        for index, cache in enumerate(record.caches):
            self._cache_in(cache, before[index])
        for mask in record.masks:
            self._mask(mask.name, mask.length, mask.window)
        self._others()
        self._run()
        after = [self._cache_out(cache, before[index]) for index, cache in enumerate(record.caches)]
        rows = self._rows()
        go_on = self._node("Identity", self._name("drive/on"), to="still_on")
        infos = [
            helper.make_tensor_value_info(self._name("drive/trip"), TensorProto.INT64, []),
            helper.make_tensor_value_info(self._name("drive/on"), TensorProto.BOOL, []),
            *self._infos(before, "held"),
        ]
        results = [
            helper.make_tensor_value_info(go_on, TensorProto.BOOL, []),
            *self._infos(after, "grown"),
            helper.make_tensor_value_info(rows, TensorProto.FLOAT, [size, record.vocabulary_size]),
        ]
        return helper.make_graph(self._nodes, f"{self._profile.name} run", infos, results, self._constants)

    def _name(self, name: str) -> str:
        return f"{self._profile.name}/{name}"

    def _node(self, kind: str, *inputs: str, to: str, **attributes: Any) -> str:  # noqa: ANN401 -- numbers, as ONNX takes them
        output = self._name(f"drive/{to}")
        self._nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def _constant(self, array: np.ndarray, to: str) -> str:
        name = self._name(f"drive/{to}")
        if all(tensor.name != name for tensor in self._constants):
            self._constants.append(numpy_helper.from_array(array, name))
        return name

    def _number(self, number: int) -> str:
        return self._constant(np.array(number, np.int64), f"number_{number}")

    def _vector(self, number: int) -> str:
        return self._constant(np.array([number], np.int64), f"vector_{number}")

    def _places(self) -> None:
        """Say which tokens this run is for: `done` ahead of it, the positions `new`, and how many are no padding."""
        size = self._profile.sequence
        offset = self._node("Mul", self._name("drive/trip"), self._number(size), to="offset")
        self._done = self._node("Add", offset, outside(f"{self._profile.name}_begin"), to="done")
        self._position = self._node("Add", self._done, outside("start"), to="position")
        self._steps = self._constant(np.arange(size, dtype=np.int64), "steps")
        self._new = self._node("Add", self._position, self._steps, to="new")
        left = self._node("Sub", outside("count"), self._done, to="left")
        known = self._node("Min", left, self._number(size), to="known")
        self._known = self._node("Unsqueeze", known, self._vector(0), to="known_1")
        taken = self._node("Add", self._done, self._steps, to="taken")
        row = self._node("Gather", outside("tokens"), taken, to="row", axis=0)
        self._ids = self._node("Unsqueeze", row, self._vector(0), to="ids")

    def _held_at(self, length: int, last: str, to: str) -> str:
        """Return the position of the token at each place of a cache whose newest token is at `last`."""
        places = self._constant(np.arange(length, dtype=np.int64), f"places_{length}")
        if self._record.cache_form == "whole":
            back = self._constant(np.arange(length, dtype=np.int64)[::-1].copy(), f"back_{length}")
            return self._node("Sub", last, back, to=to)
        away = self._node("Sub", last, places, to=f"{to}_away")
        return self._node("Sub", last, self._node("Mod", away, self._number(length), to=f"{to}_turn"), to=to)

    def _before(self, length: int) -> str:
        last = self._node("Sub", self._position, self._number(1), to=f"last_{length}")
        return self._held_at(length, last, f"held_at_{length}")

    def _cache_in(self, cache: CacheTensor, held: str) -> None:
        """Make the static cache: the places' tokens out of what is held, with a row of zeros for empty ones."""
        zeros = np.zeros((1, cache.heads, 1, cache.size), cache.dtype)
        nothing = self._constant(zeros, f"nothing_{cache.heads}_{cache.size}_{cache.dtype}")
        padded = self._node("Concat", nothing, held, to=f"padded_{cache.input}", axis=2)
        if not hasattr(self, "_indexes"):
            self._indexes: dict[int, str] = {}
        if cache.length not in self._indexes:
            shifted = self._node("Add", self._before(cache.length), self._number(1), to=f"shifted_{cache.length}")
            self._indexes[cache.length] = self._node("Max", shifted, self._number(0), to=f"index_{cache.length}")
        made = helper.make_node(
            "Gather",
            [padded, self._indexes[cache.length]],
            [self._name(cache.input)],
            self._name(f"in_{cache.input}"),
            axis=2,
        )
        self._nodes.append(made)

    def _mask(self, name: str, length: int, window: int | None) -> None:
        size, form = self._profile.sequence, self._record.cache_form
        if form == "new":
            earlier = self._held_at(
                length, self._node("Sub", self._position, self._number(1), to=f"{name}_last"), f"{name}_held"
            )
            keys = self._node("Concat", earlier, self._new, to=f"{name}_keys", axis=0)
        else:
            last = self._node("Add", self._position, self._number(size - 1), to=f"{name}_last")
            keys = self._held_at(length, last, f"{name}_keys")
        queries = self._node("Unsqueeze", self._new, self._vector(1), to=f"{name}_queries")
        shown = self._node("LessOrEqual", keys, queries, to=f"{name}_earlier")
        real = self._node("GreaterOrEqual", keys, self._number(0), to=f"{name}_real")
        shown = self._node("And", shown, real, to=f"{name}_shown")
        if window is not None:
            edge = self._node("Sub", queries, self._number(window), to=f"{name}_edge")
            near = self._node("Greater", keys, edge, to=f"{name}_near")
            shown = self._node("And", shown, near, to=f"{name}_shown_near")
        zero = self._constant(np.array(0, np.float32), "shown")
        hidden = self._constant(np.array(self._record.hidden, np.float32), "hidden")
        flat = self._node("Where", shown, zero, hidden, to=f"{name}_flat")
        axes = self._constant(np.array([0, 1], np.int64), "axes")
        self._nodes.append(helper.make_node("Unsqueeze", [flat, axes], [self._name(name)], self._name(f"in_{name}")))

    def _others(self) -> None:
        """Make the inputs that every run has one of."""
        record = self._record
        given = {record.tokens: self._ids}
        if record.position_ids is not None:
            most = self._node("Min", self._new, self._number(record.positions - 1), to="positions")
            given[record.position_ids] = self._node("Unsqueeze", most, self._vector(0), to="positions_1")
        if record.write_position is not None:
            given[record.write_position] = self._node("Unsqueeze", self._position, self._vector(0), to="write")
        if record.last_token is not None:
            given[record.last_token] = self._node("Sub", self._known, self._vector(1), to="last_token")
        for name, source in given.items():
            self._nodes.append(
                helper.make_node("Identity", [source], [self._name(name or "")], self._name(f"in_{name}"))
            )

    def _run(self) -> None:
        """Put the profile's own nodes in, every name but those of shared constants its own."""
        made = {value.name for value in self._source.graph.input}
        for tensor in self._source.graph.initializer:
            if tensor.name in self._shared:
                continue
            own = onnx.TensorProto()
            own.CopyFrom(tensor)
            own.name = self._name(tensor.name)
            self._constants.append(own)
        for node in self._source.graph.node:
            if any(
                attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
                for attribute in node.attribute
            ):
                raise InputError(f"node {node.name} holds a graph of its own, which a loop cannot take in")
            own = onnx.NodeProto()
            own.CopyFrom(node)
            own.name = self._name(node.name)
            own.input[:] = [self._inside(name) for name in node.input]
            own.output[:] = [self._inside(name) for name in node.output]
            self._nodes.append(own)
        unknown = made - {self._unprefixed(name) for node in self._nodes for name in node.output}
        if unknown:
            raise InputError(f"input {min(unknown)} of profile {self._profile.name} is none that a caller can make")

    def _inside(self, name: str) -> str:
        return name if not name or name in self._shared else self._name(name)

    def _unprefixed(self, name: str) -> str:
        return name.removeprefix(f"{self._profile.name}/")

    def _cache_out(self, cache: CacheTensor, held: str) -> str:
        """Append what is new, without padding, to what is held."""
        made = self._name(cache.output)
        size, form = self._profile.sequence, self._record.cache_form
        if form == "whole":
            made = self._node(
                "Slice", made, self._vector(-size), self._vector(END), self._vector(2), to=f"fresh_{cache.output}"
            )
        elif form == "in-place":
            places = self._node("Mod", self._new, self._number(cache.length), to=f"written_{cache.output}")
            made = self._node("Gather", made, places, to=f"fresh_{cache.output}", axis=2)
        known = self._node("Slice", made, self._vector(0), self._known, self._vector(2), to=f"known_{cache.output}")
        return self._node("Concat", held, known, to=f"grown_{cache.output}", axis=2)

    def _rows(self) -> str:
        """Return the logits of this run, a row for each token; of the last one alone, repeated."""
        logits = self._node("Squeeze", self._name(self._record.logits), self._vector(0), to="rows")
        if self._profile.logits == "all":
            return logits
        shape = np.array([self._profile.sequence, self._record.vocabulary_size], np.int64)
        return self._node("Expand", logits, self._constant(shape, "rows_shape"), to="rows_repeated")

    def _infos(self, names: list[str], length: str) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, cache_type(cache), [1, cache.heads, f"{length}_{index}", cache.size])
            for index, (name, cache) in enumerate(zip(names, self._record.caches, strict=True))
        ]
