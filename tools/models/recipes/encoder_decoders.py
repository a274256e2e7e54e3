"""Small encoder-decoders with random weights, as T5 and Whisper are, by both of torch's exporters.

NAME_encoder_EXPORTER.onnx gives the encoder's states. NAME_decoder_EXPORTER.onnx takes them beside the tokens and gives
logits, then the keys and values of both attentions of each layer: so optimum writes a decoder's first step.
NAME_cached_decoder_EXPORTER.onnx takes the keys and values of past tokens too, and gives them back with the new ones.
T5 has biases by distance and masks padding; Whisper has convolutions ahead and learned positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import (
    DynamicCache,
    EncoderDecoderCache,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from tools.models.recipes.architectures import BATCH, LAYERS, NEW, PAST, Exported
from tools.models.recipes.decoders import randomize
from tools.models.recipes.exporters import SEED, dynamo, torchscript

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEADS, SIZE, VOCABULARY, SOURCE = 48, 4, 12, 100, 9
FRAMES, MELS = 40, 8


class TextEncoder(torch.nn.Module):
    """The encoder of a model over texts, padded behind."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the states."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


class SoundEncoder(torch.nn.Module):
    """The encoder of a model over spectrograms of one length."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        """Return the states."""
        return self.encoder(input_features).last_hidden_state


class SideDecoder(torch.nn.Module):
    """The decoder of a model; its positions follow from the length of the past, where it takes one."""

    def __init__(self, model: torch.nn.Module, *, masked: bool, cached: bool) -> None:
        super().__init__()
        self.decoder, self.head = model.get_decoder(), model.get_output_embeddings()
        self.masked, self.cached = masked, cached

    def forward(
        self, input_ids: torch.Tensor, encoder_hidden_states: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the logits, and the keys and values of both attentions, or with a past of the own one."""
        if len(past) == 1 and not isinstance(past[0], torch.Tensor):  # torch.export hands the variadic part over as one
            past = tuple(past[0])
        mask, past = (past[0], past[1:]) if self.masked else (None, past)
        own, cross = DynamicCache(), DynamicCache()
        for layer in range(len(past) // 2):
            own.update(past[2 * layer], past[2 * layer + 1], layer)
        before, new = past[0].shape[2] if past else 0, input_ids.shape[1]
        keys, queries = torch.arange(before + new)[None, :], torch.arange(before, before + new)[:, None]
        zero, low = torch.tensor(0.0), torch.tensor(torch.finfo(torch.float32).min)
        found = self.decoder(
            input_ids=input_ids,
            attention_mask=torch.where(keys <= queries, zero, low)[None, None],
            encoder_hidden_states=encoder_hidden_states,
            past_key_values=EncoderDecoderCache(own, cross),
            use_cache=True,
            **({"encoder_attention_mask": mask} if self.masked else {}),
        )
        sides = (own,) if self.cached else (own, cross)
        kept = [item for layer in range(LAYERS) for side in sides for item in _held(side, layer)]
        return self.head(found.last_hidden_state), *kept


def _held(side: DynamicCache, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    return side.layers[layer].keys, side.layers[layer].values


def t5() -> torch.nn.Module:
    """Return a model over texts, with biases by distance."""
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        d_kv=SIZE,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=20,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    return T5ForConditionalGeneration(config)


def whisper() -> torch.nn.Module:
    """Return a model over sound, with learned positions."""
    config = WhisperConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=MELS,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=2 * WIDTH,
        decoder_ffn_dim=2 * WIDTH,
        max_source_positions=FRAMES // 2,
        max_target_positions=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        attn_implementation="eager",
    )
    return WhisperForConditionalGeneration(config)


def encoder(name: str, model: torch.nn.Module) -> Exported:
    """Return an encoder with names."""
    if name == "whisper":
        batch = {0: "batch"}
        axes = {"input_features": batch, "last_hidden_state": batch}
        return Exported(
            SoundEncoder(model), (torch.zeros(BATCH, MELS, FRAMES),), ["input_features"], ["last_hidden_state"], axes
        )
    ids = torch.arange(BATCH * SOURCE).reshape(BATCH, SOURCE)
    inputs, axes = ["input_ids", "attention_mask"], {0: "batch", 1: "source"}
    return Exported(
        TextEncoder(model),
        (ids, torch.ones_like(ids)),
        inputs,
        ["last_hidden_state"],
        dict.fromkeys([*inputs, "last_hidden_state"], axes),
    )


def decoder(name: str, model: torch.nn.Module, *, cached: bool) -> Exported:
    """Return a decoder with names as optimum gives them."""
    masked = name == "t5"
    source = SOURCE if masked else FRAMES // 2
    kinds = [f"{layer}.{side}" for layer in range(LAYERS) for side in ("decoder", "encoder")[: 1 if cached else 2]]
    present = [f"present.{kind}.{part}" for kind in kinds for part in ("key", "value")]
    past = [f"past_key_values.{name.removeprefix('present.')}" for name in present] if cached else []
    ids = torch.arange(BATCH * NEW).reshape(BATCH, NEW)
    masks = (torch.ones(BATCH, source, dtype=torch.int64),) if masked else ()
    sizes = {"encoder": {2: "source"} if masked else {}, "decoder": {2: "total" if cached else "new"}}
    states = {0: "batch", 1: "source"} if masked else {0: "batch"}
    axes = {
        "input_ids": {0: "batch", 1: "new"},
        "encoder_hidden_states": states,
        "encoder_attention_mask": states,
        "logits": {0: "batch", 1: "new"},
        **{name: {0: "batch", **sizes[name.split(".")[2]]} for name in present},
        **{name: {0: "batch", 2: "past"} for name in past},
    }
    return Exported(
        SideDecoder(model, masked=masked, cached=cached),
        (ids, torch.zeros(BATCH, source, WIDTH), *masks, *(torch.zeros(BATCH, HEADS, PAST, SIZE) for _ in past)),
        ["input_ids", "encoder_hidden_states", *(["encoder_attention_mask"] if masked else []), *past],
        ["logits", *present],
        axes,
        variadic=2 if masked or cached else None,
    )


def make(folder: Path, downloads: Path) -> None:
    """Write both models, encoders and decoders apart, by both exporters."""
    del downloads
    for name, build in {"t5": t5, "whisper": whisper}.items():
        torch.manual_seed(SEED)
        model = build()
        randomize(model)
        model.requires_grad_(requires_grad=False)
        parts = {
            "encoder": encoder(name, model),
            "decoder": decoder(name, model, cached=False),
            "cached_decoder": decoder(name, model, cached=True),
        }
        for part, wanted in parts.items():
            wanted.model.eval()
            torchscript(wanted, folder / f"{name}_{part}_torchscript.onnx")
            dynamo(wanted, folder / f"{name}_{part}_dynamo.onnx")
