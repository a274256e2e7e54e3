"""What a caller may ask of tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from npuopt.errors import UsageError


@dataclass(frozen=True)
class TuningOptions:
    """Options of `tune`.

    Attributes:
        epochs: how often each sample is seen.
        batch: samples whose gradients are summed up before a step.
        weight_rate: learning rate of weights, relative to the root of the mean square of each.
        scale_rate: learning rate of the logarithms of scales.
        loss: `kl` compares what comes out of products as logits, by their softmax; `error` compares all outputs by
            their squared error over their square.
        inner: inner tensors that are to be like the teacher's too, by their squared error over their square.
        inner_weight: what the error of inner tensors counts beside that of the outputs.
        held_out: share of the samples that nothing is learned from; they choose the best state, where no others do.
        sparsity: `2:4` keeps two weights of four along what a product sums up, and leaves the others zero.
        seed: of the order of samples.
    """

    epochs: int = 4
    batch: int = 4
    weight_rate: float = 1e-3
    scale_rate: float = 1e-3
    loss: Literal["kl", "error"] = "kl"
    inner: tuple[str, ...] = ()
    inner_weight: float = 1.0
    held_out: float = 0.125
    sparsity: Literal["none", "2:4"] = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is not at least 1")
        for name in ("weight_rate", "scale_rate", "inner_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} {getattr(self, name)} is no number of at least 0")
        if not 0 <= self.held_out < 1:
            raise UsageError(f"held_out {self.held_out} is not at least 0 and below 1")
        for name, choices in (("loss", ("kl", "error")), ("sparsity", ("none", "2:4"))):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} {getattr(self, name)!r} is none of {', '.join(choices)}")
