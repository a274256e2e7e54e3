"""Small decoders with random weights, in the shapes of families that people run, by both of torch's exporters.

Learned positions (GPT-2), normalized queries and keys beside biases (Qwen), partial rotation in a parallel block (Phi):
NAME_EXPORTER.onnx, two layers each. LLaMA and Gemma are among `exporters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PhiConfig, PhiForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tools.models.recipes.architectures import LAYERS, TEXT, Exported, decoder
from tools.models.recipes.exporters import SEED, dynamo, torchscript

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTENTION = "eager"


def gpt2() -> Exported:
    """Return a decoder with learned positions."""
    config = GPT2Config(
        n_embd=48, n_layer=LAYERS, n_head=4, vocab_size=100, n_positions=64, attn_implementation=ATTENTION
    )
    return decoder(GPT2LMHeadModel(config), 4, 12)


def qwen() -> Exported:
    """Return a decoder with normalized queries and keys, biases, and grouped heads."""
    config = Qwen3Config(
        **TEXT,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=8,
        attention_bias=True,
        attn_implementation=ATTENTION,
    )
    return decoder(Qwen3ForCausalLM(config), 2, 8)


def phi() -> Exported:
    """Return a decoder that rotates half of each head, and whose attention and perceptron stand side by side."""
    config = PhiConfig(**TEXT, num_attention_heads=4, partial_rotary_factor=0.5, attn_implementation=ATTENTION)
    return decoder(PhiForCausalLM(config), 4, 12)


FAMILIES: dict[str, Callable[[], Exported]] = {
    "gpt2": gpt2,
    "phi": phi,
    "qwen": qwen,
}


def make(folder: Path, downloads: Path) -> None:
    """Write every family by both exporters."""
    del downloads
    for name, build in FAMILIES.items():
        torch.manual_seed(SEED)
        wanted = build()
        randomize(wanted.model)
        wanted.model.eval().requires_grad_(requires_grad=False)
        torchscript(wanted, folder / f"{name}_torchscript.onnx")
        dynamo(wanted, folder / f"{name}_dynamo.onnx")


def randomize(model: torch.nn.Module) -> None:
    """Give biases and scales, which start as zeros and ones, numbers that would show if they were lost."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) * 0.2)
