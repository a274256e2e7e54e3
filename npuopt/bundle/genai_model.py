"""The profiles of a language model as one ONNX model with a growing cache, which onnxruntime-genai can drive.

onnxruntime-genai feeds a whole prompt or one token, with caches that grow by what was fed. Inside, two loops run the
static profiles as they are: the longest one over chunks, the shortest one over what is left. Each run is given, of the
grown cache, what its static cache would hold, and a mask that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npuopt.bundle.genai_profile import ProfileBody, cache_type, outside
from npuopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from npuopt.bundle.language_model import LanguageModelRecord, Profile

IDS, LOGITS = "input_ids", "logits"
PAST = {"key": "past_key_values.%d.key", "value": "past_key_values.%d.value"}
PRESENT = {"key": "present.%d.key", "value": "present.%d.value"}


def genai_model(folder: Path, record: LanguageModelRecord) -> onnx.ModelProto:
    """Return the model; weights in external files stay there, relative to the profiles' own folder.

    Args:
        folder: the artifact's.
        record: what it says of its language model.

    Raises:
        InputError: when the profiles lie in different folders, or take looked-up vectors instead of tokens.
    """
    chosen = _chosen(record)
    if record.tokens is None:
        raise InputError("onnxruntime-genai feeds tokens, and this model takes looked-up vectors")
    if len({(folder / profile.model).parent for profile in chosen}) > 1:
        raise InputError("the profiles of the model lie in different folders")
    sources = [onnx.ModelProto.FromString((folder / profile.model).read_bytes()) for profile in chosen]
    shared = _shared(sources)
    nodes = _Nodes()
    _count(record, chosen, nodes)
    held = [PAST[cache.kind] % cache.layer for cache in record.caches]
    rows: list[str] = []
    for profile, source in zip(chosen, sources, strict=True):
        made = [f"{profile.name}_held_{index}" for index in range(len(held))]
        rows.append(f"{profile.name}_rows")
        given = [name if name.startswith("past") else outside(name) for name in held]
        inputs = [outside(f"{profile.name}_trips"), outside("go_on"), *given]
        loop = helper.make_node("Loop", inputs, [outside(name) for name in (*made, rows[-1])], outside(profile.name))
        loop.attribute.append(helper.make_attribute("body", ProfileBody(record, profile, source, shared).graph()))
        nodes.nodes.append(loop)
        held = made
    _join(record, rows, held, nodes)
    graph = helper.make_graph(
        nodes.nodes, "generation", _inputs(record), _outputs(record), [*shared.values(), *_constants(record)]
    )
    opsets = {item.domain: item.version for source in sources for item in source.opset_import}
    return helper.make_model(
        graph,
        ir_version=max(source.ir_version for source in sources),
        opset_imports=[helper.make_opsetid(domain, number) for domain, number in sorted(opsets.items())],
    )


def _chosen(record: LanguageModelRecord) -> list[Profile]:
    """Return the longest profile and the shortest, which is the same where there is one."""
    ordered = sorted(record.profiles, key=lambda profile: -profile.sequence)
    if ordered[-1].sequence != 1:
        raise InputError("onnxruntime-genai feeds single tokens, and no profile takes one")
    return [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered


def _shared(sources: Sequence[onnx.ModelProto]) -> dict[str, onnx.TensorProto]:
    """Return the constants that all profiles have under one name, with the same content."""
    tables = [{tensor.name: tensor for tensor in source.graph.initializer} for source in sources]
    return {
        name: tensor
        for name, tensor in tables[0].items()
        if all(name in table and table[name].SerializeToString() == tensor.SerializeToString() for table in tables[1:])
    }


class _Nodes:
    """Nodes of the outer graph: names that the model could have too are told apart from its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []

    def add(self, kind: str, *inputs: str, to: str, **attributes: Any) -> str:  # noqa: ANN401 -- numbers, as ONNX takes them
        names = [name if name in _BORDER or name.startswith(("past", "present")) else outside(name) for name in inputs]
        output = to if to in _BORDER or to.startswith("present") else outside(to)
        self.nodes.append(helper.make_node(kind, names, [output], output, **attributes))
        return to


_BORDER = (IDS, LOGITS)


def _count(record: LanguageModelRecord, chosen: Sequence[Profile], nodes: _Nodes) -> None:
    """Count: tokens held and new, runs of each profile and where each begins."""
    first = PAST[record.caches[0].kind] % record.caches[0].layer
    nodes.add("Squeeze", nodes.add("Shape", first, to="held_shape", start=2, end=3), to="start")
    nodes.add("Squeeze", nodes.add("Shape", IDS, to="new_shape", start=1, end=2), to="count")
    padding = nodes.add("Concat", "zero_1", "last_padding", to="padding", axis=0)
    nodes.add("Pad", nodes.add("Squeeze", IDS, "zero_1", to="row"), padding, to="tokens")
    most, least = chosen[0].name, chosen[-1].name
    if len(chosen) == 1:
        nodes.add("Identity", "zero", to=f"{least}_begin")
        nodes.add("Identity", "count", to=f"{least}_trips")
        return
    chunks = nodes.add("Div", nodes.add("Add", "count", "chunk_less_one", to="rounded"), "chunk", to="chunks")
    if record.cache_form != "new":  # padding enters the cache, and must not push out or overwrite what is needed
        ends = nodes.add("Add", "start", nodes.add("Mul", chunks, "chunk", to="padded_count"), to="ends")
        fits = nodes.add("LessOrEqual", ends, "context", to="fits")
        chunks = nodes.add("Where", fits, chunks, nodes.add("Div", "count", "chunk", to="full"), to="safe_chunks")
    nodes.add("Where", nodes.add("Greater", "count", "one", to="is_prompt"), chunks, "zero", to=f"{most}_trips")
    nodes.add("Identity", "zero", to=f"{most}_begin")
    nodes.add("Mul", f"{most}_trips", "chunk", to=f"{least}_begin")
    left = nodes.add("Sub", "count", f"{least}_begin", to="left")
    nodes.add("Max", left, "zero", to=f"{least}_trips")


def _join(record: LanguageModelRecord, rows: Sequence[str], held: Sequence[str], nodes: _Nodes) -> None:
    """Join the logits of all runs, and give the caches back."""
    flat = [nodes.add("Reshape", name, "rows_shape", to=f"{name}_flat") for name in rows]
    joined = nodes.add("Concat", *flat, to="all_rows", axis=0)
    known = nodes.add("Slice", joined, "zero_1", "new_shape", "zero_1", to="known_rows")
    nodes.add("Unsqueeze", known, "zero_1", to=LOGITS)
    for source, cache in zip(held, record.caches, strict=True):
        nodes.add("Identity", source, to=PRESENT[cache.kind] % cache.layer)


def _inputs(record: LanguageModelRecord) -> list[onnx.ValueInfoProto]:
    ids = helper.make_tensor_value_info(IDS, TensorProto.INT64, [1, "new"])
    return [ids, *_cache_infos(record, PAST, "held")]


def _outputs(record: LanguageModelRecord) -> list[onnx.ValueInfoProto]:
    logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [1, "new", record.vocabulary_size])
    return [logits, *_cache_infos(record, PRESENT, "total")]


def _cache_infos(record: LanguageModelRecord, names: dict[str, str], length: str) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(
            names[cache.kind] % cache.layer, cache_type(cache), [1, cache.heads, length, cache.size]
        )
        for cache in record.caches
    ]


def _constants(record: LanguageModelRecord) -> list[onnx.TensorProto]:
    chunk = max(profile.sequence for profile in record.profiles)
    arrays = {
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "zero_1": np.array([0], np.int64),
        "last_padding": np.array([chunk], np.int64),
        "chunk": np.array(chunk, np.int64),
        "context": np.array(record.context_length, np.int64),
        "chunk_less_one": np.array(chunk - 1, np.int64),
        "go_on": np.array(True),
        "rows_shape": np.array([-1, record.vocabulary_size], np.int64),
    }
    return [numpy_helper.from_array(array, outside(name)) for name, array in arrays.items()]
