"""Small transformers with random weights, in the shapes that people export; nothing is fetched.

The layers are those of the package transformers; what is made small is the number of layers and their widths. The
decoders take past keys and values and give back present ones, as a runtime with a cache wants it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTModel,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LAYERS = 2
SMALL = {"hidden_size": 48, "num_hidden_layers": LAYERS, "intermediate_size": 96}
TEXT = {**SMALL, "vocab_size": 100, "max_position_embeddings": 64}
PAST, NEW, BATCH = 7, 5, 2


@dataclass(frozen=True)
class Exported:
    """What torch's exporters are given.

    Attributes:
        model: the module.
        example: its positional arguments.
        inputs, outputs: the names of the graph's.
        axes: the dynamic axes of inputs and outputs, by name.
        variadic: the inputs from here on are one variadic parameter of the module, called `past`.
    """

    model: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    inputs: list[str]
    outputs: list[str]
    axes: dict[str, dict[int, str]]
    variadic: int | None = None

    def dynamic_shapes(self) -> dict[str, Any]:
        """Return the dynamic axes as the dynamo exporter wants them: by the names of the module's parameters."""
        single = {name: self.axes[name] for name in self.inputs[: self.variadic]}
        return (
            {**single, "past": tuple(self.axes[name] for name in self.inputs[self.variadic :])}
            if self.variadic
            else single
        )


class Encoder(torch.nn.Module):
    """A BERT with its pooler."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        self.encoder = BertModel(BertConfig(**TEXT, num_attention_heads=4, attn_implementation=attention))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last hidden state and the pooled one."""
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return found.last_hidden_state, found.pooler_output


class Vision(torch.nn.Module):
    """A vision transformer."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        config = ViTConfig(**SMALL, num_attention_heads=4, image_size=32, patch_size=8, attn_implementation=attention)
        self.encoder = ViTModel(config, add_pooling_layer=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the last hidden state."""
        return self.encoder(image).last_hidden_state


class FlatCache:
    """The little of transformers' Cache that a decoder layer uses, over [key0, value0, key1, ...]."""

    def __init__(self, past: tuple[torch.Tensor, ...]) -> None:
        self.past, self.present = past, []

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: object, **__: object) -> tuple[Any, Any]:
        """Join past and new keys and values of one layer."""
        both = tuple(torch.cat([self.past[2 * layer + index], new], 2) for index, new in enumerate((key, value)))
        self.present += both
        return both


class Decoder(torch.nn.Module):
    """A causal language model over past and new tokens; padding may be on either side."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, *past: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the logits and the present keys and values."""
        if len(past) == 1:  # torch.export hands the variadic part over as one tuple
            past = tuple(past[0])
        new, total = input_ids.shape[1], attention_mask.shape[1]
        positions = (attention_mask.cumsum(1) - 1).clamp(min=0)[:, total - new :]
        keys = torch.arange(total)[None, :]
        queries = (torch.arange(new) + (total - new))[:, None]
        shown = (keys <= queries)[None, None] & (attention_mask != 0)[:, None, None, :]
        zero, low = torch.tensor(0.0), torch.tensor(torch.finfo(torch.float32).min)
        masks: Any = torch.where(shown, zero, low)
        if window := getattr(self.model.config, "sliding_window", None):
            near = shown & (keys > queries - window)[None, None]
            masks = {"full_attention": masks, "sliding_attention": torch.where(near, zero, low)}
        cache = FlatCache(past)
        found = self.model(
            input_ids=input_ids,
            attention_mask=masks,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        return (found.logits, *cache.present)


def bert(attention: str) -> Exported:
    """Return an encoder over tokens."""
    ids = torch.arange(20).reshape(BATCH, 10)
    inputs, axes = ["input_ids", "attention_mask", "token_type_ids"], {0: "batch", 1: "seq"}
    return Exported(
        Encoder(attention),
        (ids, torch.ones_like(ids), torch.zeros_like(ids)),
        inputs,
        ["hidden", "pooled"],
        {**dict.fromkeys([*inputs, "hidden"], axes), "pooled": {0: "batch"}},
    )


def vit(attention: str) -> Exported:
    """Return an encoder over images."""
    batch = {0: "batch"}
    return Exported(
        Vision(attention), (torch.zeros(BATCH, 3, 32, 32),), ["image"], ["hidden"], {"image": batch, "hidden": batch}
    )


def llama(attention: str) -> Exported:
    """Return a decoder with two heads of keys for six of queries."""
    config = LlamaConfig(
        **TEXT, num_attention_heads=6, num_key_value_heads=2, head_dim=8, attn_implementation=attention
    )
    return decoder(LlamaForCausalLM(config), 2, 8)


def gemma(attention: str) -> Exported:
    """Return a decoder as Gemma 3 is: one head of keys, normalized queries and keys, a window in some layers."""
    angles = {
        kind: {"rope_type": "default", "rope_theta": theta}
        for kind, theta in (("full_attention", 1e6), ("sliding_attention", 1e4))
    }
    config = Gemma3TextConfig(
        **TEXT,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters=angles,
        attn_implementation=attention,
    )
    return decoder(Gemma3ForCausalLM(config), 1, 16)


def decoder(model: torch.nn.Module, heads: int, size: int) -> Exported:
    """Return a decoder with names for its cache."""
    kinds = [f"{layer}.{kind}" for layer in range(LAYERS) for kind in ("key", "value")]
    past, present = [f"past.{kind}" for kind in kinds], [f"present.{kind}" for kind in kinds]
    ids, mask = torch.arange(BATCH * NEW).reshape(BATCH, NEW), torch.ones(BATCH, PAST + NEW, dtype=torch.int64)
    axes = {
        "input_ids": {0: "batch", 1: "new"},
        "attention_mask": {0: "batch", 1: "total"},
        "logits": {0: "batch", 1: "new"},
        **{name: {0: "batch", 2: "past"} for name in past},
        **{name: {0: "batch", 2: "total"} for name in present},
    }
    return Exported(
        Decoder(model),
        (ids, mask, *(torch.zeros(BATCH, heads, PAST, size) for _ in kinds)),
        ["input_ids", "attention_mask", *past],
        ["logits", *present],
        axes,
        variadic=2,
    )


ARCHITECTURES: dict[str, tuple[Callable[[str], Exported], tuple[str, ...]]] = {
    "bert": (bert, ("eager", "sdpa")),
    "vit": (vit, ("sdpa",)),
    "llama": (llama, ("eager", "sdpa")),
    "gemma": (gemma, ("eager",)),
}
"""Each with the implementations of attention in transformers that it is exported with."""
