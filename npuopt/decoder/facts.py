"""Says in a few words what was recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import nodes, producer

if TYPE_CHECKING:
    from npuopt.decoder.description import Decoder
    from npuopt.graph import Model, Value

NORMALIZATIONS = ("RMSNormalization", "LayerNormalization")


def facts_of(model: Model, decoder: Decoder) -> dict[str, str]:
    """Return what a person wants to know of a decoder, in the order of the graph."""
    first = decoder.layers[0]
    groups = first.query_heads // first.heads
    heads = f"{first.query_heads} of queries, {first.heads} of keys and values" if groups > 1 else str(first.heads)
    facts = {
        "tokens": decoder.tokens or f"{decoder.embeddings} (vectors)",
        "vocabulary": str(decoder.vocabulary),
        "layers": str(len(decoder.layers)),
        "heads": f"{heads}, size {first.key_size}",
        "cache": "taken and given back" if decoder.has_cache else "none: one is added",
        "attention": _attention(decoder),
        "positions": _positions(model, decoder),
        "queries and keys": "normalized" if _are_normalized(model) else "as they are",
        "embedding": _embedding(model, decoder),
    }
    caps = {layer.softcap for layer in decoder.layers if layer.softcap}
    if caps:
        facts["scores"] = f"capped at {', '.join(f'{cap:g}' for cap in sorted(caps))}"
    if decoder.source is not None:
        padding = "padding masked" if decoder.source.mask else "all of it counts"
        facts["source"] = f"{decoder.source.states}, read by {len(decoder.source.layers)} layers, {padding}"
    if decoder.extra:
        facts["other inputs"] = f"{', '.join(decoder.extra)}: made anew"
    return facts


def _attention(decoder: Decoder) -> str:
    counts = {window: sum(layer.window == window for layer in decoder.layers) for window in decoder.windows}
    return ", ".join(
        f"{count} layers look at {'all tokens' if window is None else f'the last {window}'}"
        for window, count in counts.items()
    )


def _positions(model: Model, decoder: Decoder) -> str:
    if not decoder.tables:
        return "biases by distance" if decoder.biases else "none"
    rotations = nodes(model, "RotaryEmbedding")
    if rotations:
        size = {2 * table.rows.shape[-1] for table in decoder.tables if table.is_rotary and table.rows.ndim > 1}
        part = [width for width in size if width < decoder.layers[0].key_size]
        kinds = len({table.rows.tobytes() for table in decoder.tables if table.is_rotary}) // 2
        return f"rotary{f', the first {part[0]} numbers of a head' if part else ''}" + (
            f", {kinds} kinds" if kinds > 1 else ""
        )
    return "rotary, spelled out" if all(table.is_rotary for table in decoder.tables) else "learned vectors"


def _are_normalized(model: Model) -> bool:
    return any(_behind_rotation(node.inputs[1]) for node in nodes(model, "Attention"))


def _behind_rotation(value: Value | None) -> bool:
    while (node := producer(value, "RotaryEmbedding", "Transpose")) is not None:
        value = node.inputs[0]
    return producer(value, *NORMALIZATIONS) is not None


def _embedding(model: Model, decoder: Decoder) -> str:
    table = model.graph.initializers.get(decoder.table)
    if table is None:
        return "outside the graph"
    readers = {use.node.op_type for use in table.uses()}
    return "tied to the logits" if readers - {"Gather"} else "of its own"
