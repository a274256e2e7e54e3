"""Distils the float model into its quantized self: on samples without labels, the student learns to agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import cos, pi
from typing import TYPE_CHECKING, Any

import numpy as np

from npuopt.errors import InputError, UsageError
from npuopt.graph import input_at, is_op
from npuopt.tuning.fake_quantization import FakeQuantization
from npuopt.tuning.losses import distance, logit_outputs
from npuopt.tuning.network import Network
from npuopt.tuning.sparsity import masks
from npuopt.tuning.torch_api import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from npuopt.graph import Model
    from npuopt.quantization.encodings import Encoding, Encodings
    from npuopt.tuning.options import TuningOptions
    from npuopt.tuning.torch_api import Optimizer, Tensor

    Arrays = Mapping[str, np.ndarray]
    Progress = Callable[[str], None]

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
NORMALIZATIONS = (
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization",
)  # fmt: skip
WARM_UP = 0.1
"""Share of all steps in which the rates rise: the first steps of Adam know the gradients' sizes from one batch only."""

MOST_TAUGHT_BYTES = 2**30
"""Of the teacher's outputs that are kept, so that it runs once for each sample and not in each epoch."""

LEAST_MAGNITUDE = 1e-8
"""What the root mean square of a weight counts at least for its learning rate: weights of zeros can learn too."""


@dataclass
class Tuned:
    """What a student learned.

    Attributes:
        encodings: with learned scales.
        weights: the constants that changed, by name, in float32.
        losses: the distance from the teacher on the held-out samples: before, then after each epoch.
        best: the epoch whose state was kept; 0 when nothing learned was better than the start.
    """

    encodings: Encodings
    weights: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    losses: list[float] = field(default_factory=list[float])
    best: int = 0


def distil(  # noqa: PLR0913 -- options, all with defaults
    model: Model,
    encodings: Encodings,
    samples: Sequence[Arrays],
    options: TuningOptions,
    *,
    held_out: Sequence[Arrays] | None = None,
    teacher: Model | None = None,
    start: Mapping[str, np.ndarray] | None = None,
    fixed: Collection[Encoding] = (),
    say: Progress = lambda text: None,
) -> Tuned:
    """Tune weights and scales so that the quantized model agrees with the float one.

    Args:
        model: the float model that the encodings are for; not changed.
        encodings: how the student holds its numbers at the start.
        samples: without labels.
        options: how to learn.
        held_out: samples to choose the best state by; when None, a share of `samples` is held out. Views of one
            photograph, or parts of one recording, are too much alike for that: what was learned of some by heart
            looks as if it held for all.
        teacher: whom to agree with, where that is not the model itself: the model before it was pruned. Compared
            is what both make in the same shape.
        start: what constants start from instead of the model's own, by name: rounded weights and corrected biases.
        fixed: encodings whose scales must stay.
        say: told how far it is.

    Raises:
        InputError: when an op cannot be tuned through, or the loss is no number.
        UsageError: when an inner tensor does not exist, or there are too few samples.
    """
    parts = _parted(samples, options) if held_out is None else (samples, held_out)
    return _Distillation(model, encodings, parts, options, teacher, start or {}, fixed).run(say)


class _Distillation:
    """One student, its teacher and their data."""

    def __init__(
        self,
        model: Model,
        encodings: Encodings,
        parts: tuple[Sequence[Arrays], Sequence[Arrays]],
        options: TuningOptions,
        teacher: Model | None,
        start: Mapping[str, np.ndarray],
        fixed: Collection[Encoding],
    ) -> None:
        for network in (model, teacher or model):
            _require_tensors(network, options.inner)
        self._options = options
        self._encodings = encodings
        self._network = Network(model)
        self._teacher = self._network if teacher is None else Network(teacher)
        self._holding = FakeQuantization(encodings, fixed)
        self._logits = logit_outputs(model)
        self._masks = (
            {name: torch.from_numpy(mask) for name, mask in masks(model).items()} if options.sparsity == "2:4" else {}
        )
        self._is_elsewhere = bool(start)
        own = self._network.weights
        self._learnable = {
            name: (torch.tensor(start[name]) if name in start else own[name].clone()).requires_grad_()
            for name in learnable(model)
        }
        self._learning, self._held_out = parts
        if not self._learning or not self._held_out:
            raise UsageError("there are no samples to tune with")
        self._taught: dict[int, Mapping[str, Tensor]] = {}
        self._room = MOST_TAUGHT_BYTES
        self._random = np.random.default_rng(options.seed)

    def run(self, say: Progress) -> Tuned:
        """Learn for all epochs; return the best state."""
        optimizer = self._optimizer()
        steps = self._options.epochs * -(-len(self._learning) // self._options.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(share_of_rate, steps=steps))
        losses = [self._validate()]
        tuned = Tuned(
            self._encodings, losses=losses, weights=self._state() if self._masks or self._is_elsewhere else {}
        )
        for epoch in range(1, self._options.epochs + 1):
            for done, batch in enumerate(self._batches()):
                sample = done * self._options.batch
                say(f"tuning: epoch {epoch} of {self._options.epochs}, sample {sample}, loss {losses[-1]:.4g}")
                self._step(batch, optimizer)
                schedule.step()
            losses.append(self._validate())
            if losses[-1] <= min(losses[:-1]):
                tuned.encodings, tuned.weights, tuned.best = self._learned(), self._state(), epoch
        return tuned

    def _optimizer(self) -> Optimizer:
        options = self._options
        groups: list[dict[str, Any]] = [
            {
                "params": [tensor],
                "lr": options.weight_rate * max(float(tensor.detach().square().mean().sqrt()), LEAST_MAGNITUDE),
            }
            for tensor in self._learnable.values()
        ]
        if scales := self._holding.scales:
            groups.append({"params": scales, "lr": options.scale_rate})
        return torch.optim.Adam(groups)

    def _batches(self) -> Iterator[list[Arrays]]:
        order = self._random.permutation(len(self._learning))
        for start in range(0, len(order), self._options.batch):
            yield [self._learning[at] for at in order[start : start + self._options.batch]]

    def _step(self, batch: Sequence[Arrays], optimizer: Optimizer) -> None:
        optimizer.zero_grad()
        with self._holding.rounding_weights_once():
            for sample in batch:
                loss = self._distance(sample) / len(batch)
                if not bool(torch.isfinite(loss)):
                    hint = "lower the learning rates"
                    raise InputError("tuning came to a loss that is no finite number", hint=hint)
                loss.backward()
        optimizer.step()

    def _distance(self, sample: Arrays) -> Tensor:
        keep = self._options.inner
        got = self._network.run(sample, holding=self._holding, weights=self._weights(), keep=keep)
        return distance(got, self._wanted(sample), self._logits, self._options)

    def _wanted(self, sample: Arrays) -> Mapping[str, Tensor]:
        """Return what the teacher makes of one of the samples, which is kept as long as there is room."""
        if id(sample) in self._taught:
            return self._taught[id(sample)]
        with torch.no_grad():
            wanted = self._teacher.run(sample, keep=self._options.inner)
        size = sum(tensor.nbytes for tensor in wanted.values())
        if size <= self._room:
            self._taught[id(sample)] = wanted
            self._room -= size
        return wanted

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: tensor * self._masks[name] if name in self._masks else tensor
            for name, tensor in self._learnable.items()
        }

    def _validate(self) -> float:
        with torch.no_grad(), self._holding.rounding_weights_once():
            return float(np.mean([float(self._distance(sample)) for sample in self._held_out]))

    def _state(self) -> dict[str, np.ndarray]:
        return {name: tensor.detach().numpy().copy() for name, tensor in self._weights().items()}

    def _learned(self) -> Encodings:
        learned = self._holding.learned
        return self._encodings.model_copy(
            update={
                "tensors": {name: learned(encoding) for name, encoding in self._encodings.tensors.items()},
                "uses": {
                    output: {index: learned(encoding) for index, encoding in by_index.items()}
                    for output, by_index in self._encodings.uses.items()
                },
            }
        )


def share_of_rate(step: int, steps: int) -> float:
    """Return the share of the learning rates at a step: up in a straight line, then down as a cosine to zero."""
    rising = max(1, int(steps * WARM_UP))
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 + 0.5 * cos(pi * (step - rising) / max(steps - rising, 1))


def learnable(model: Model) -> list[str]:
    """Name the constants that learn: what products and normalizations have beside their data, tables, added vectors.

    Masks, angles and other constants that stand for facts do not learn.
    """
    found: dict[str, None] = {}
    for node in model.graph:
        if is_op(node, *PRODUCTS, *NORMALIZATIONS):
            places = range(1, min(len(node.inputs), 3))
        elif is_op(node, "Gather"):
            places = range(1)
        elif is_op(node, "Add"):
            places = range(2)
        else:
            continue
        for place in places:
            value = input_at(node, place)
            tensor = None if value is None else model.graph.initializers.get(value.name or "")
            if tensor is None or tensor.dtype is None or not tensor.dtype.is_floating_point():
                continue
            if not is_op(node, "Add") or len(tensor.shape or ()) == 1:
                found[tensor.name or ""] = None
    return list(found)


def _require_tensors(model: Model, names: Collection[str]) -> None:
    known = {output.name for node in model.graph for output in node.outputs}
    for name in names:
        if name not in known:
            raise UsageError(
                f"the model has no inner tensor {name} (any more)",
                hint="see the names with npuopt compare or in dumps/",
            )


def _parted(samples: Sequence[Arrays], options: TuningOptions) -> tuple[Sequence[Arrays], Sequence[Arrays]]:
    """Return the samples to learn from, and those held out: every n-th, so that both are alike."""
    count = round(len(samples) * options.held_out)
    if not count or len(samples) - count < 1:
        return samples, samples
    places = set(np.linspace(0, len(samples) - 1, count).round().astype(int).tolist())
    return (
        [sample for at, sample in enumerate(samples) if at not in places],
        [sample for at, sample in enumerate(samples) if at in places],
    )
