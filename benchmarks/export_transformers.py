"""Export a BERT and a LLaMA of 12 layers, 109 and 125 million random weights, by both of torch's exporters.

    python -m benchmarks.export_transformers [--layers 12]

Writes bert12, bert12_dynamo, llama12 and llama12_dynamo into the folder of the fetched models. It runs itself in the
environment that `make models` makes, for torch.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.location import models_folder

try:
    import torch
except ModuleNotFoundError:  # started in npuopt's environment
    torch = None

if TYPE_CHECKING:
    from torch import Tensor

WIDTH, HEADS, KEY_HEADS, HEAD = 768, 12, 4, 64
BATCH, SEQUENCE, PAST = 1, 128, 128


class Export(NamedTuple):
    """What the exporters are given."""

    model: Any
    example: tuple[Any, ...]
    inputs: list[str]
    outputs: list[str]
    axes: dict[str, dict[int, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Export bert12 and llama12.")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=models_folder())
    arguments = parser.parse_args()
    if torch is None:
        python = models_folder() / ".environment" / "bin" / "python"
        if not python.exists():
            sys.exit("torch is missing: run `make models` first")
        sys.exit(subprocess.run([str(python), "-m", __spec__.name, *sys.argv[1:]], check=False).returncode)
    torch.manual_seed(0)
    for name, export in (("bert12", bert(arguments.layers)), ("llama12", llama(arguments.layers))):
        for dynamo in (False, True):
            path = arguments.folder / (f"{name}_dynamo" if dynamo else name) / "model.onnx"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(export, path, dynamo=dynamo)


def write(export: Export, path: Path, *, dynamo: bool) -> None:
    """Export at opset 17 with dynamic axes by tracing, or at 18 with the example's shapes by torch.export."""
    how: dict[str, Any] = (
        {"opset_version": 18, "dynamo": True, "external_data": False, "verbose": False}
        if dynamo
        else {"opset_version": 17, "dynamo": False, "dynamic_axes": export.axes}
    )
    names = {"input_names": export.inputs, "output_names": export.outputs}
    torch.onnx.export(export.model.eval(), export.example, str(path), **names, **how)


def bert(layers: int) -> Export:
    """Return an encoder with embeddings, a mask and a pooler."""
    nn = torch.nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
            self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            q, k, v = (heads(linear(x), HEADS).permute(0, 2, 1, 3) for linear in (self.q, self.k, self.v))
            scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(HEAD) + mask
            mixed = torch.matmul(torch.softmax(scores, -1), v).permute(0, 2, 1, 3)
            x = self.first(self.o(mixed.contiguous().view(*x.shape)) + x)
            return self.second(self.down(nn.functional.gelu(self.up(x))) + x)

    class Bert(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.kinds = (nn.Embedding(size, WIDTH) for size in (30522, 512, 2))
            self.norm, self.pool = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
            self.layers = nn.ModuleList([Layer() for _ in range(layers)])

        def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
            places = torch.arange(input_ids.shape[1]).unsqueeze(0)
            x = self.norm(self.words(input_ids) + self.kinds(token_type_ids) + self.places(places))
            mask = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
            for layer in self.layers:
                x = layer(x, mask)
            return x, torch.tanh(self.pool(x[:, 0]))

    ids = torch.randint(0, 30522, (BATCH, SEQUENCE))
    names = ["input_ids", "attention_mask", "token_type_ids"]
    axes = {name: {0: "batch", 1: "seq"} for name in names}
    return Export(Bert(), (ids, torch.ones_like(ids), torch.zeros_like(ids)), names, ["hidden", "pooled"], axes)


def llama(layers: int) -> Export:
    """Return a decoder step with grouped queries, rotary embeddings, gates and past keys and values."""
    nn = torch.nn

    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [(WIDTH, WIDTH), (WIDTH, KEY_HEADS * HEAD), (WIDTH, KEY_HEADS * HEAD), (WIDTH, WIDTH)]
            self.q, self.k, self.v, self.o = (nn.Linear(*size, bias=False) for size in sizes)
            self.gate, self.up = (nn.Linear(WIDTH, 2048, bias=False) for _ in range(2))
            self.down = nn.Linear(2048, WIDTH, bias=False)
            self.first, self.second = Norm(), Norm()

        def forward(
            self, x: Tensor, turn: tuple[Tensor, Tensor], bias: Tensor, past: tuple[Tensor, Tensor]
        ) -> tuple[Tensor, Tensor, Tensor]:
            y = self.first(x)
            q = rotated(heads(self.q(y), HEADS).transpose(1, 2), turn)
            k = rotated(heads(self.k(y), KEY_HEADS).transpose(1, 2), turn)
            v = heads(self.v(y), KEY_HEADS).transpose(1, 2)
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
            scores = torch.matmul(q, repeated(k).transpose(2, 3)) / math.sqrt(HEAD) + bias
            mixed = torch.matmul(torch.softmax(scores, -1), repeated(v)).transpose(1, 2)
            x = x + self.o(mixed.reshape(*x.shape))
            y = self.second(x)
            return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y)), k, v

    class Llama(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.norm = nn.Embedding(32000, WIDTH), Norm()
            self.head = nn.Linear(WIDTH, 32000, bias=False)
            self.layers = nn.ModuleList([Layer() for _ in range(layers)])
            self.register_buffer("frequencies", 1.0 / (10000 ** (torch.arange(0, HEAD, 2).float() / HEAD)))

        def forward(self, input_ids: Tensor, position_ids: Tensor, bias: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
            x, present = self.words(input_ids), []
            angles = position_ids[:, :, None].float() * self.frequencies[None, None, :]
            angles = torch.cat((angles, angles), -1)
            turn = angles.cos()[:, None], angles.sin()[:, None]
            for index, layer in enumerate(self.layers):
                x, k, v = layer(x, turn, bias, (past[2 * index], past[2 * index + 1]))
                present += [k, v]
            return self.head(self.norm(x)), *present

    past = [torch.randn(BATCH, KEY_HEADS, PAST, HEAD) for _ in range(2 * layers)]
    example = (torch.randint(0, 32000, (BATCH, 1)), torch.full((BATCH, 1), PAST), torch.zeros(BATCH, 1, 1, PAST + 1))
    pasts = [f"past.{index}.{kind}" for index in range(layers) for kind in ("k", "v")]
    presents = [name.replace("past", "present") for name in pasts]
    axes = {name: {0: "batch", 1: "seq"} for name in ("input_ids", "position_ids")}
    axes["bias"] = {0: "batch", 2: "seq", 3: "total"}
    axes |= {name: {0: "batch", 2: "past"} for name in pasts} | {name: {0: "batch", 2: "total"} for name in presents}
    return Export(Llama(), (*example, *past), [*axes][:3] + pasts, ["logits", *presents], axes)


def heads(x: Tensor, count: int) -> Tensor:
    return x.view(x.shape[0], x.shape[1], count, HEAD)


def rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    half = HEAD // 2
    return x * turn[0] + torch.cat((-x[..., half:], x[..., :half]), -1) * turn[1]


def repeated(x: Tensor) -> Tensor:
    """Give every group of query heads its own copy of a key head."""
    batch, count, length, size = x.shape
    groups = HEADS // KEY_HEADS
    return x[:, :, None].expand(batch, count, groups, length, size).reshape(batch, count * groups, length, size)


if __name__ == "__main__":
    main()
