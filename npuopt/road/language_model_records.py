"""Puts on record what a decoder was compiled into."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from npuopt import __version__
from npuopt.bundle import (
    AdapterInput,
    CacheTensor,
    LanguageModelRecord,
    Manifest,
    MaskInput,
    PlacementSummary,
    Profile,
    describe_files,
    sha256,
)
from npuopt.graph import dims, element_type
from npuopt.graph.low_rank import read_low_rank
from npuopt.passes.freeze.cache_interface import WRITE_POSITION, cache_length, cache_outputs, mask_input
from npuopt.passes.freeze.split_embedding import VECTORS
from npuopt.passes.tune.insert_adapters import input_names
from npuopt.road.records import PACKAGES, nodes_of, pass_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from npuopt.bundle import CacheForm, NodeRecord
    from npuopt.decoder import Decoder
    from npuopt.graph import Value
    from npuopt.road.built import Built
    from npuopt.road.options import CompileOptions, LanguageModelOptions
    from npuopt.road.records import CheckResult
    from npuopt.target import Target


@dataclass(frozen=True)
class DecoderCheck:
    """What was recognised of a decoder, and where the nodes of its profiles would go."""

    facts: Mapping[str, str]
    profiles: Mapping[str, CheckResult]

    def to_json(self) -> dict[str, Any]:
        """Return what `check --json` prints."""
        return {
            "decoder": dict(self.facts),
            "profiles": {name: result.to_json() for name, result in self.profiles.items()},
        }


def describe(
    decoder: Decoder, built: Mapping[str, Built], form: CacheForm, wanted: LanguageModelOptions, folder: str
) -> LanguageModelRecord:
    """Return the record of a decoder whose profiles are prepared; nothing of them is compiled yet."""
    model = next(iter(built.values())).prepared.model
    inputs = {value.name: value for value in model.graph.inputs}
    most = max(wanted.lengths.values())

    def given(name: str) -> str | None:
        return name if name in inputs else None

    return LanguageModelRecord(
        vocabulary_size=decoder.vocabulary,
        context_length=decoder.context,
        positions=decoder.context,
        layers=len(decoder.layers),
        cache_form=form,
        tokens=None if decoder.tokens is None else given(decoder.tokens),
        embeddings=decoder.embeddings or given(VECTORS),
        position_ids=given("position_ids"),
        write_position=given(WRITE_POSITION),
        last_token=given("last_token"),
        logits=decoder.logits,
        masks=tuple(_masks(decoder, form, most, inputs)),
        caches=tuple(_caches(decoder, form, most, inputs)),
        adapters=_adapters(inputs, wanted),
        profiles=tuple(
            Profile(
                name=name,
                sequence=item.new,
                logits="last" if wanted.last_logits else "all",
                model=f"{folder}/{name}.onnx",
                folder=folder,
            )
            for name, item in built.items()
        ),
        facts=decoder.facts,
    )


def _caches(decoder: Decoder, form: CacheForm, most: int, inputs: Mapping[str | None, Value]) -> Iterator[CacheTensor]:
    """Yield each layer's keys and values; `most` new positions come at once at the longest."""
    for index, layer in enumerate(decoder.layers):
        sizes = (layer.key_size, layer.value_size)
        for kind, size, (source, output) in zip(("key", "value"), sizes, cache_outputs(decoder, index), strict=True):
            yield CacheTensor(
                layer=index,
                kind=kind,
                input=source,
                output=output,
                heads=layer.heads,
                size=size,
                length=cache_length(layer.window, decoder.context, most, form),
                window=layer.window,
                dtype=_dtype(inputs[source]),
            )


def _masks(decoder: Decoder, form: CacheForm, most: int, inputs: Mapping[str | None, Value]) -> Iterator[MaskInput]:
    """Yield the masks that the graphs still read."""
    for window, bias in decoder.masks:
        name = mask_input(decoder, window, bias)
        if name in inputs:
            yield MaskInput(
                name=name,
                length=cache_length(window, decoder.context, most, form),
                window=window,
                bias=tuple(map(tuple, decoder.biases[bias].tolist())) if bias else (),
            )


def _adapters(inputs: Mapping[str | None, Value], wanted: LanguageModelOptions) -> tuple[AdapterInput, ...]:
    """Return the low-rank adapters that became inputs, by the file that they were made for."""
    found: list[AdapterInput] = []
    for layer in list[str]() if wanted.adapter is None else list(read_low_rank(wanted.adapter)):
        down, up = input_names(layer)
        if down in inputs and up in inputs:
            (features, rank), (_, outputs) = (dims(inputs[name]) or (None, None) for name in (down, up))
            if isinstance(features, int) and isinstance(rank, int) and isinstance(outputs, int):
                found.append(AdapterInput(layer=layer, down=down, up=up, features=features, rank=rank, outputs=outputs))
    return tuple(found)


def _dtype(value: Any) -> str:  # noqa: ANN401 -- a graph's value
    kind = element_type(value)
    return "float32" if kind is None else str(kind.numpy())


def language_manifest(
    model: Path,
    target: Target,
    scheme: str,
    options: CompileOptions,
    built: Mapping[str, Built],
    record: LanguageModelRecord,
    folder: Path,
) -> Manifest:
    """Put a whole compile on record; `folder` holds every file of the artifact by now."""
    compiled = [item.compiled for item in built.values() if item.compiled is not None]
    return Manifest(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        npuopt=__version__,
        source={"file": model.name, "sha256": sha256(model), "bytes": model.stat().st_size},
        target={"name": target.name, "title": target.title, "facts_sha256": target.fingerprint},
        recipe={
            "precision": scheme,
            "verify": options.verify,
            "host": options.host,
            "calibration": str(options.calibration) if options.calibration is not None else None,
            "context": record.context_length,
            "profiles": {item.name: item.new for item in built.values()},
            "cache_form": record.cache_form,
            "pass_files": [path.name for path in options.pass_files],
        },
        tools={
            **{name: version(name) for name in PACKAGES},
            "python": platform.python_version(),
            **{name: found for plan in compiled for name, found in plan.tools.items()},
        },
        passes=tuple(pass_record(report) for item in built.values() for report in item.prepared.runner.reports),
        placement=_placement(built),
        nodes=tuple(node for item in built.values() for node in _nodes(item)),
        steps=(),
        language_model=record,
        files=describe_files(folder),
    )


def _nodes(item: Built) -> list[NodeRecord]:
    """Return the nodes of one profile, their regions under its name."""
    found = nodes_of(item.plan, item.prepared)
    return [node.model_copy(update={"region": f"{item.name}/{node.region}"}) for node in found]


def _placement(built: Mapping[str, Built]) -> PlacementSummary:
    """Sum up where the nodes of all profiles went; the share of multiply-adds is the least of any profile."""
    summaries = [item.plan.summary for item in built.values()]
    nodes, npu = sum(one.nodes for one in summaries), sum(one.npu for one in summaries)
    return PlacementSummary(
        nodes=nodes,
        npu=npu,
        host=sum(one.host for one in summaries),
        edge=sum(one.edge for one in summaries),
        npu_fraction=npu / nodes if nodes else 1.0,
        npu_mac_fraction=min(one.npu_mac_fraction for one in summaries),
    )
