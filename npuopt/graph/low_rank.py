"""Files of low-rank adapters: two thin matrices a layer, whose product is added to its weight.

Source of the method: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from npuopt.errors import InputError, ToolchainMissingError

PART = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+?)\.lora_(?P<part>[AB])(?:\.default)?(?:\.weight)?")
"""A name in an adapter file: `layer.lora_A` or, as PEFT writes it, `base_model.model.layer.lora_A.weight`."""

ALPHA = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+?)\.alpha")


@dataclass(frozen=True)
class LowRank:
    """What is added to one layer: `scale * x @ down @ up`.

    Attributes:
        down: [features, rank], float32.
        up: [rank, outputs], float32.
        scale: alpha / rank.
    """

    down: np.ndarray
    up: np.ndarray
    scale: float

    @property
    def rank(self) -> int:
        """Numbers between the two matrices."""
        return self.down.shape[1]


def read_low_rank(given: Mapping[str, Any] | Path) -> dict[str, LowRank]:
    """Read an adapter for each layer from a file, or from a mapping of its arrays.

    Raises:
        InputError: when the file cannot be read, half of an adapter is missing, or its halves do not fit each other.
        ToolchainMissingError: for a .safetensors file without that package.
    """
    arrays = _arrays(given) if isinstance(given, Path) else given
    halves: dict[str, dict[str, np.ndarray]] = {}
    alphas: dict[str, float] = {}
    for name, array in arrays.items():
        if part := PART.fullmatch(name):
            halves.setdefault(part["layer"], {})[part["part"]] = np.asarray(array, np.float32)
        elif alpha := ALPHA.fullmatch(name):
            alphas[alpha["layer"]] = float(np.asarray(array).reshape(()))
        else:
            raise InputError(
                "is no part of a low-rank adapter", where=name, hint="names end in .lora_A, .lora_B, .alpha"
            )
    return {layer: _joined(layer, parts, alphas.get(layer)) for layer, parts in halves.items()}


def _joined(layer: str, parts: Mapping[str, np.ndarray], alpha: float | None) -> LowRank:
    if set(parts) != {"A", "B"}:
        raise InputError(f"the adapter has only its half {next(iter(parts))}", where=layer)
    lower, upper = parts["A"], parts["B"]
    if lower.ndim != 2 or upper.ndim != 2 or lower.shape[0] != upper.shape[1] or not lower.shape[0]:
        raise InputError(
            f"halves of {list(lower.shape)} and {list(upper.shape)} are no adapter of one rank", where=layer
        )
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise InputError("the adapter holds NaN or infinity", where=layer)
    rank = lower.shape[0]
    return LowRank(lower.T, upper.T, (rank if alpha is None else alpha) / rank)


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise InputError(
            "adapters cannot be read", where=str(path), hint="give an .npz or .safetensors file"
        ) from error


def _safetensors(path: Path) -> Mapping[str, np.ndarray]:
    try:
        package: Any = import_module("safetensors.numpy")
    except ImportError as error:
        raise ToolchainMissingError(".safetensors files need a package", hint="pip install 'npuopt[tune]'") from error
    try:
        return package.load_file(path)
    except Exception as error:
        raise InputError("adapters cannot be read", where=str(path), hint="the file is damaged") from error
