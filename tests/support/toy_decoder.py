"""A small decoder with random weights, as a static artifact in each cache form, and the same model without any cache.

Two layers with learned positions: one sees all tokens, the other a window. Attention is written out in standard ops.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from npuopt.bundle import (
    CacheTensor,
    LanguageModelRecord,
    Manifest,
    MaskInput,
    PlacementSummary,
    Profile,
    Step,
    describe_files,
    write_target,
)
from npuopt.bundle.genai_config import write_genai
from npuopt.target import load_target
from support.paths import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARY, WIDTH, HEADS, SIZE, POSITIONS, WINDOW = 2048, 16, 2, 8, 64, 5
CONTEXT, CHUNK = 24, 4
HIDDEN = -200.0
WINDOWS = (None, WINDOW)
TOKENIZER = EXAMPLES / "tiny_llama" / "tokenizer.json"


@dataclass(frozen=True)
class Weights:
    """What the model learned: nothing; all of it is drawn."""

    arrays: dict[str, np.ndarray]

    @staticmethod
    def drawn(seed: int = 0) -> Weights:
        random = np.random.default_rng(seed)
        shapes = {"tokens_table": (VOCABULARY, WIDTH), "positions_table": (POSITIONS, WIDTH)}
        for layer in range(len(WINDOWS)):
            shapes |= {f"{name}_{layer}": (WIDTH, WIDTH) for name in ("query", "key", "value", "output")}
        arrays = {name: random.normal(size=shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}
        return Weights(arrays)

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Return the logits of each token of a text, [tokens, vocabulary], computed without a cache."""
        held, count = self.arrays, len(tokens)
        x = held["tokens_table"][tokens] + held["positions_table"][:count]
        rows, columns = np.arange(count)[:, None], np.arange(count)[None]
        for layer, window in enumerate(WINDOWS):
            heads = [
                (x @ held[f"{name}_{layer}"]).reshape(count, HEADS, SIZE).transpose(1, 0, 2)
                for name in ("query", "key", "value")
            ]
            scores = heads[0] @ heads[1].transpose(0, 2, 1) / np.sqrt(SIZE)
            hidden = (columns > rows) | (columns <= rows - (window or count))
            weights = np.exp(
                np.where(hidden, -np.inf, scores) - np.where(hidden, -np.inf, scores).max(-1, keepdims=True)
            )
            mixed = (weights / weights.sum(-1, keepdims=True)) @ heads[2]
            x = np.tanh(x + mixed.transpose(1, 0, 2).reshape(count, WIDTH) @ held[f"output_{layer}"])
        return x @ held["tokens_table"].T


def cache_length(form: str, window: int | None) -> int:
    """Return the places of a layer's cache: what its window needs, with a chunk on top where that is written too."""
    return CONTEXT if window is None else window + (0 if form == "new" else CHUNK - 1)


def graph(weights: Weights, form: str, sequence: int, *, logits: str = "all") -> onnx.ModelProto:  # noqa: C901 -- a graph, from top to bottom
    """Return one profile's model."""
    nodes, outputs = (
        [],
        [helper.make_tensor_value_info("logits", 1, [1, sequence if logits == "all" else 1, VOCABULARY])],
    )
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, sequence]) for name in ("input_ids", "position_ids")
    ]
    if form == "in-place":
        inputs.append(helper.make_tensor_value_info("write_position", TensorProto.INT64, [1]))
    if logits == "last":
        inputs.append(helper.make_tensor_value_info("last_token", TensorProto.INT64, [1]))
    constants = {
        **weights.arrays,
        "split": np.array([1, sequence, HEADS, SIZE]),
        "join": np.array([1, sequence, WIDTH]),
    }
    constants["root"] = np.sqrt(np.float32(SIZE))
    if form == "whole":
        constants |= {"begin": np.array([sequence]), "end": np.array([2**30]), "axis": np.array([2])}

    def node(kind: str, *names: str, to: str, **attributes) -> str:
        nodes.append(helper.make_node(kind, list(names), [to], name=to, **attributes))
        return to

    x = node(
        "Add",
        node("Gather", "tokens_table", "input_ids", to="embedded"),
        node("Gather", "positions_table", "position_ids", to="placed"),
        to="x",
    )
    for layer, window in enumerate(WINDOWS):
        length = cache_length(form, window)
        heads = {}
        for name in ("query", "key", "value"):
            made = node("MatMul", x, f"{name}_{layer}", to=f"{name}{layer}")
            made = node("Reshape", made, "split", to=f"{name}{layer}_split")
            heads[name] = node("Transpose", made, to=f"{name}{layer}_heads", perm=[0, 2, 1, 3])
        seen = {}
        for name in ("key", "value"):
            cache, out = f"past_{name}_{layer}", f"present_{name}_{layer}"
            inputs.append(helper.make_tensor_value_info(cache, 1, [1, HEADS, length, SIZE]))
            outputs.append(
                helper.make_tensor_value_info(out, 1, [1, HEADS, sequence if form == "new" else length, SIZE])
            )
            if form == "new":
                seen[name] = node("Concat", cache, heads[name], to=f"{name}{layer}_all", axis=2)
                node("Identity", heads[name], to=out)
            elif form == "whole":
                both = node("Concat", cache, heads[name], to=f"{name}{layer}_all", axis=2)
                seen[name] = node("Slice", both, "begin", "end", "axis", to=out)
            else:
                mode = "circular" if window else "linear"
                seen[name] = node("TensorScatter", cache, heads[name], "write_position", to=out, mode=mode)
        mask = "mask" if window is None else "mask_window"
        places = length + sequence if form == "new" else length
        inputs.append(helper.make_tensor_value_info(mask, 1, [1, 1, sequence, places]))
        turned = node("Transpose", seen["key"], to=f"turned{layer}", perm=[0, 1, 3, 2])
        scores = node("Div", node("MatMul", heads["query"], turned, to=f"scores{layer}"), "root", to=f"scaled{layer}")
        shares = node("Softmax", node("Add", scores, mask, to=f"masked{layer}"), to=f"shares{layer}", axis=-1)
        mixed = node(
            "Transpose", node("MatMul", shares, seen["value"], to=f"mixed{layer}"), to=f"back{layer}", perm=[0, 2, 1, 3]
        )
        joined = node("Reshape", mixed, "join", to=f"joined{layer}")
        added = node("Add", x, node("MatMul", joined, f"output_{layer}", to=f"out{layer}"), to=f"added{layer}")
        x = node("Tanh", added, to=f"x{layer}")
    if logits == "last":
        x = node("Gather", x, "last_token", to="x_last", axis=1)
    node("MatMul", x, node("Transpose", "tokens_table", to="head"), to="logits")
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "decoder", inputs, outputs, tensors)
    return helper.make_model(made, ir_version=11, opset_imports=[helper.make_opsetid("", 24)])


def record(form: str, *, logits: str = "all", chunks: tuple[int, ...] = (CHUNK, 1)) -> LanguageModelRecord:
    """Return what the artifact says of the model."""
    lengths = {window: cache_length(form, window) for window in WINDOWS}
    names = {1: "decode", CHUNK: "prefill"}
    profiles = [
        Profile(
            name=names[chunk],
            sequence=chunk,
            logits=logits if chunk > 1 else "all",
            model=f"profiles/{names[chunk]}.onnx",
            folder="profiles",
            steps=(step(names[chunk], logits if chunk > 1 else "all", form),),
        )
        for chunk in chunks
    ]
    return LanguageModelRecord(
        vocabulary_size=VOCABULARY,
        context_length=CONTEXT,
        positions=POSITIONS,
        layers=len(WINDOWS),
        cache_form=form,
        tokens="input_ids",
        position_ids="position_ids",
        write_position="write_position" if form == "in-place" else None,
        last_token="last_token" if logits == "last" else None,
        logits="logits",
        masks=(
            MaskInput(name="mask", length=lengths[None]),
            MaskInput(name="mask_window", length=lengths[WINDOW], window=WINDOW),
        ),
        hidden=HIDDEN,
        caches=tuple(
            CacheTensor(
                layer=layer,
                kind=kind,
                input=f"past_{kind}_{layer}",
                output=f"present_{kind}_{layer}",
                heads=HEADS,
                size=SIZE,
                length=lengths[window],
                window=window,
            )
            for layer, window in enumerate(WINDOWS)
            for kind in ("key", "value")
        ),
        profiles=tuple(profiles),
        tokenizer=("tokenizer.json",),
    )


def step(profile: str, logits: str, form: str, road: str = "ort") -> Step:
    """Return the one compiled part of a profile: all of it."""
    inputs = ["input_ids", "position_ids", "mask", "mask_window"]
    inputs += [f"past_{kind}_{layer}" for layer in range(2) for kind in ("key", "value")]
    inputs += ["write_position"] * (form == "in-place") + ["last_token"] * (logits == "last")
    outputs = ["logits", *(f"present_{kind}_{layer}" for layer in range(2) for kind in ("key", "value"))]
    return Step(
        name="all",
        kind="npu",
        road=road,
        model=f"{profile}.all.onnx",
        files=(f"{profile}.all.onnx",),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
    )


def write_artifact(
    folder: Path,
    form: str = "new",
    *,
    logits: str = "all",
    chunks: tuple[int, ...] = (CHUNK, 1),
    seed: int = 0,
    road: str = "ort",
) -> Path:
    """Write a whole artifact, with the tokenizer of tiny_llama, and return its folder."""
    made = record(form, logits=logits, chunks=chunks)
    profiles = []
    for profile in made.profiles:
        (folder / profile.folder).mkdir(parents=True, exist_ok=True)
        proto = graph(Weights.drawn(seed), form, profile.sequence, logits=profile.logits)
        onnx.checker.check_model(proto, full_check=True)
        for name in (profile.model, f"{profile.folder}/{profile.name}.all.onnx"):
            (folder / name).write_bytes(proto.SerializeToString())
        profiles.append(profile.model_copy(update={"steps": (step(profile.name, profile.logits, form, road),)}))
    made = made.model_copy(update={"profiles": tuple(profiles)})
    (folder / "tokenizer.json").write_bytes(TOKENIZER.read_bytes())
    assert (write_genai(folder, made) == "") == (1 in chunks)
    target = load_target("host/onnxruntime")
    write_target(target, folder)
    summary = PlacementSummary(nodes=1, npu=1, host=0, edge=0, npu_fraction=1.0, npu_mac_fraction=1.0)
    Manifest(
        created="",
        npuopt="0",
        source={"seed": seed},
        target={"name": target.name},
        recipe={},
        tools={},
        passes=(),
        placement=summary,
        nodes=(),
        steps=(),
        language_model=made,
        files=describe_files(folder),
    ).write(folder)
    return folder


def edit_manifest(folder: Path, **changes: object) -> None:
    """Change the record of the language model in a manifest."""
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["language_model"].update(changes)
    path.write_text(json.dumps(document))
