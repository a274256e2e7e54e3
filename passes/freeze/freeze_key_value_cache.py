"""Caches of keys and values that grow, or that are not there yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import onnx_ir as ir

from npuopt.graph import Builder, DataType, Editor, element_type, infer_shapes
from npuopt.passes.freeze.cache_interface import WRITE_POSITION, cache_length, cache_outputs, give_back, mask_input
from npuopt.pipeline import Entry, Pass, Report

if TYPE_CHECKING:
    from npuopt.decoder import Decoder
    from npuopt.decoder.description import Layer
    from npuopt.graph import Model, Node, Value
    from npuopt.target import Target


@dataclass(frozen=True)
class FreezeKeyValueCache(Pass):
    """Keys and values of past tokens are kept in a cache of a fixed size, and a mask says which of them count.

    `Attention(q, k, v, mask, past_k, past_v) -> y, k', v'` with a past of any length becomes, with S new tokens and a
    cache of L places,
    form `new`: `Attention(q, k, v, mask[1, 1, S, L + S], cache_k, cache_v) -> y`, outputs k and v;
    form `in-place`: `Attention(q, k', v', mask[1, 1, S, L])` with `k' = TensorScatter(cache_k, k, write_position)`;
    form `whole`: the same with `k' = Concat(Slice(cache_k, S), k)`.

    Layers that look at a window of tokens only get a cache as short as their window allows. A decoder without a cache
    gets one. Masks are inputs: 0 where a key is seen, a large negative number elsewhere; where a bias by distance is
    added to the scores, it is in the mask, head by head.

    Left alone: layers whose Attention the graph does not have.

    Attributes:
        decoder: what was recognised; nothing is done without it.
        form: of the cache, see above.
        new: how many tokens a run has.
        most: how many tokens a run of any profile has at most, which a window's cache has to make room for.
    """

    name: ClassVar[str] = "freeze-key-value-cache"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})
    breaks: ClassVar[frozenset[str]] = frozenset({"constants-folded"})
    keeps_interface: ClassVar[bool] = False

    decoder: Any = None
    form: Literal["new", "in-place", "whole"] = "new"
    new: int = 1
    most: int = 1

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Give every layer its cache and its mask."""
        del target
        report = Report(self.name)
        if self.decoder is None:
            return report
        made = {value.name: value for node in model.graph for value in node.outputs}
        inputs = _Inputs(model, Editor(model), self)
        decoder = cast("Decoder", self.decoder)
        for index, layer in enumerate(decoder.layers):
            output = made.get(layer.attention)
            node = None if output is None else output.producer()
            if node is None:
                report.declined.append(Entry(layer.attention, "Attention", "the graph has no such node"))
                continue
            length = cache_length(layer.window, decoder.context, self.most, self.form)
            _attend(node, layer, index, length, inputs)
            report.changed.append(Entry(layer.attention, "Attention", f"keeps {length} places"))
        _drop_unread_inputs(model, inputs.edit)
        if report.changed:
            infer_shapes(model, forget=True)
        return report


@dataclass
class _Inputs:
    """Makes graph inputs, each when it is first wanted."""

    model: Model
    edit: Editor
    wanted: FreezeKeyValueCache

    def of(self, name: str, shape: list[int], kind: DataType) -> Value:
        """Return the input of that name, in this shape."""
        found = next((value for value in self.model.graph.inputs if value.name == name), None)
        if found is None:
            found = ir.Value(name=self.edit.fresh_name(name), type=ir.TensorType(kind))
            self.model.graph.inputs.append(found)
        found.shape = ir.Shape(shape)
        return found


def _attend(node: Node, layer: Layer, index: int, length: int, inputs: _Inputs) -> None:
    """Write one layer's attention anew."""
    wanted, build = inputs.wanted, Builder(inputs.edit, node)
    decoder = cast("Decoder", wanted.decoder)
    kind = element_type(node.inputs[1]) or DataType.FLOAT
    fresh = node.inputs[1:3]
    names = cache_outputs(decoder, index)
    sizes = (layer.key_size, layer.value_size)
    caches = [
        inputs.of(name, [1, layer.heads, length, size], kind) for (name, _), size in zip(names, sizes, strict=True)
    ]
    mask_name = mask_input(decoder, layer.window, layer.bias)
    attributes = {name: item for name, item in node.attributes.items() if name != "is_causal"}
    places = length + (wanted.new if wanted.form == "new" else 0)
    heads = layer.query_heads if layer.bias else 1
    mask = inputs.of(mask_name, [1, heads, wanted.new, places], DataType.FLOAT)  # as callers make it
    if kind != DataType.FLOAT:
        mask = build("Cast", mask, to=kind)
    if wanted.form == "new":
        # all three outputs: some compilers take no past without giving the present back, read or not
        result = build.many("Attention", 3, node.inputs[0], *fresh, mask, *caches, **attributes)[0]
        present = [build("Identity", value) for value in fresh]
    else:
        present = [_updated(cache, value, length, inputs, build) for cache, value in zip(caches, fresh, strict=True)]
        result = build("Attention", node.inputs[0], *present, mask, **attributes)
    before = [*node.outputs[1:3], None, None]
    for (_, name), value, old in zip(names, present, before, strict=False):
        give_back(value, name, old, inputs.model)
    inputs.edit.replace(node.outputs[0], result)
    inputs.edit.erase_unread(node)


def _updated(cache: Value, fresh: Value | None, length: int, inputs: _Inputs, build: Builder) -> Value:
    """Return the whole cache with the new keys or values in it."""
    wanted = inputs.wanted
    if wanted.form == "in-place":
        place = inputs.of(WRITE_POSITION, [1], DataType.INT64)
        is_short = length < cast("Decoder", wanted.decoder).context
        return build("TensorScatter", cache, fresh, place, axis=2, mode="circular" if is_short else None)
    kept = build("Slice", cache, build.integers(wanted.new), build.integers(length), build.integers(2))
    return build("Concat", kept, fresh, axis=2)


def _drop_unread_inputs(model: Model, edit: Editor) -> None:
    """Remove what only the old masks were made of."""
    for node in reversed(list(model.graph)):
        edit.erase_unread(node)
    for value in [value for value in model.graph.inputs if not value.uses() and not value.is_graph_output()]:
        model.graph.inputs.remove(value)
