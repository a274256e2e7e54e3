"""Low-rank adapters: two thin matrices whose product is added to a weight. Read from a file, matched to a graph.

Source of the method: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from npuopt.errors import InputError, ToolchainMissingError
from npuopt.graph import attribute, constant, input_at, is_constant, is_op, nodes

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value

PART = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+?)\.lora_(?P<part>[AB])(?:\.default)?(?:\.weight)?")
"""A name in an adapter file: `layer.lora_A` or, as PEFT writes it, `base_model.model.layer.lora_A.weight`."""

ALPHA = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+?)\.alpha")


@dataclass(frozen=True)
class Adapter:
    """What is added to one layer: `scale * x @ down @ up`.

    Attributes:
        layer: its name in the file.
        node: the Gemm or MatMul.
        down: [features, rank], float32.
        up: [rank, outputs], float32.
        scale: alpha / rank.
    """

    layer: str
    node: Node
    down: np.ndarray
    up: np.ndarray
    scale: float

    @property
    def weight(self) -> Value:
        """The layer's weight."""
        return cast("Value", self.node.inputs[1])

    @property
    def is_transposed(self) -> bool:
        """Say whether the weight is held as [outputs, features]."""
        return is_op(self.node, "Gemm") and bool(attribute(self.node, "transB", 0))


def read_adapters(given: Mapping[str, Any] | Path, model: Model) -> list[Adapter]:
    """Match the adapters of a file, or of a mapping of its arrays, to the layers of a model.

    A layer is found by the name of its weight, with or without `.weight` at its end, or by the name of its node.

    Raises:
        InputError: when the file cannot be read, half of an adapter is missing, no layer has the name, or the shapes
            do not fit it.
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
    layers = _layers(model)
    return [_adapter(layer, parts, alphas.get(layer), layers) for layer, parts in halves.items()]


def _adapter(layer: str, parts: Mapping[str, np.ndarray], alpha: float | None, layers: Mapping[str, Node]) -> Adapter:
    if set(parts) != {"A", "B"}:
        raise InputError(f"the adapter has only its half {next(iter(parts))}", where=layer)
    node = layers.get(layer)
    if node is None:
        raise InputError("an adapter is given for a layer that the model does not have", where=layer)
    lower, upper = parts["A"], parts["B"]
    shape = cast("np.ndarray", constant(node.inputs[1])).shape
    turned = is_op(node, "Gemm") and bool(attribute(node, "transB", 0))
    outputs, features = shape if turned else shape[::-1]
    if lower.ndim != 2 or upper.ndim != 2 or lower.shape[0] != upper.shape[1] or not lower.shape[0]:
        raise InputError(
            f"halves of {list(lower.shape)} and {list(upper.shape)} are no adapter of one rank", where=layer
        )
    if (upper.shape[0], lower.shape[1]) != (outputs, features):
        what = f"an adapter from {lower.shape[1]} to {upper.shape[0]} features for a layer from {features} to {outputs}"
        raise InputError(what, where=layer)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise InputError("the adapter holds NaN or infinity", where=layer)
    rank = lower.shape[0]
    return Adapter(layer, node, lower.T, upper.T, (rank if alpha is None else alpha) / rank)


def _layers(model: Model) -> dict[str, Node]:
    """Return the layers that an adapter can be for, by each of their names; names of several layers are left out."""
    found: dict[str, Node | None] = {}
    for node in nodes(model, "Gemm", "MatMul"):
        weight = input_at(node, 1)
        array = constant(weight) if is_constant(weight) and node.graph is model.graph else None
        if weight is None or array is None or array.ndim != 2 or attribute(node, "transA", 0):
            continue
        name = weight.name or ""
        for known in dict.fromkeys((name, name.removesuffix(".weight"), node.name or "")):
            found[known] = None if known in found else node
    return {name: node for name, node in found.items() if node is not None and name}


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
