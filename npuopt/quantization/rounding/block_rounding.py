"""Rounds weights that are held in blocks so that their errors cancel on the data that they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from npuopt.graph import attribute, constant, input_at, is_constant, is_op, producer, users
from npuopt.quantization.arithmetic import limits
from npuopt.quantization.blocks import round_blocks
from npuopt.quantization.calibration.taps import tapped_session
from npuopt.quantization.rounding.cancellation import ROUNDED_AT_ONCE, feedback
from npuopt.quantization.rounding.features import Moments, spread
from npuopt.quantization.rounding.refinement import refine
from npuopt.quantization.rounding.round_weights import MOMENT_BYTES, MOST_FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.block_encodings import BlockEncoding
    from npuopt.quantization.blocks import Blocks
    from npuopt.quantization.rounding.cancellation import Rounder
    from npuopt.quantization.rounding.round_weights import Progress
    from npuopt.quantization.samples.data import Samples


@dataclass(frozen=True)
class Product:
    """A MatMul or Gemm with a weight that is held in blocks.

    Attributes:
        data: what the weight is multiplied with.
        weight: the constant, behind a Transpose or not.
        held: how it is held.
    """

    data: Value
    weight: Value
    held: BlockEncoding

    @classmethod
    def of(cls, node: Node, blocks: Mapping[str, BlockEncoding]) -> Product | None:
        """Return the product, or None where the node is none or its weight is not held."""
        data, weight = input_at(node, 0), input_at(node, 1)
        if not is_op(node, "MatMul", "Gemm") or attribute(node, "transA", 0) or data is None or is_constant(data):
            return None
        turned = producer(weight, "Transpose")
        weight = weight if turned is None else turned.inputs[0]
        held = None if weight is None else blocks.get(weight.name or "")
        if weight is None or held is None or not is_constant(weight):
            return None
        return cls(data, weight, held)

    @property
    def rows(self) -> np.ndarray:
        """The weight as [channels, features]."""
        return self.held.rows(cast("np.ndarray", constant(self.weight)))


def round_held_weights(
    model: Model,
    blocks: Mapping[str, BlockEncoding],
    samples: Samples,
    *,
    progress: Progress | None = None,
    most_features: int = MOST_FEATURES,
    moment_bytes: int | None = None,
    threads: int = 0,
    rounder: Rounder = feedback,
) -> dict[str, Blocks]:
    """Round weights of products by the data that they are multiplied with (GPTQ, on the grid of each block).

    Scales are those with the least squared error, weighed by what the features are worth, and are fitted to the
    integers after it. Left out: weights of other
    ops, those of more than `most_features` features, and what saw fewer positions than it has features. A table that
    is looked up as well counts errors of both uses.

    Args:
        model: the float model; it comes back as it was.
        blocks: how each weight is held, by name.
        samples: read once for each portion of `moment_bytes`.
        progress: called after each sample with the samples done and the total, None when unknown.
        most_features: features of a product above which it is left out.
        moment_bytes: bytes of second moments that are held at a time (or those of one product); when None, half as
            many as the weights take: each portion is a run of all samples.
        threads: threads of the runtime, 0 for all cores.
        rounder: how rows are rounded by the moments of their features.

    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR
    2023; scales are found ahead of it, as its "static groups" do, and refined after it (`refinement`).
    """
    found = (Product.of(node, blocks) for node in model.graph)
    products = [item for item in found if item is not None and 0 < item.rows.shape[1] <= most_features]
    half = sum(item.rows.nbytes for item in products) // 2
    portions = list(_portions(products, max(MOMENT_BYTES, half) if moment_bytes is None else moment_bytes))
    total = None if samples.count is None else samples.count * len(portions)
    rounded: dict[str, Blocks] = {}
    done = 0
    for portion in portions:
        moments = {item.data.name or "": Moments(item.rows.shape[1]) for item in portion}
        inside = {item.data.name: item.data for item in portion if item.data.producer() is not None}
        session = tapped_session(model, inside.values(), optimize=True, threads=threads) if inside else None
        for sample in samples:
            seen = {**sample, **(session.run(sample) if session is not None else {})}
            for name, met in moments.items():
                positions = seen[name].reshape(-1, seen[name].shape[-1])
                met.add(positions[spread(len(positions))])
            done += 1
            if progress is not None:
                progress(done, total)
        for item in portion:
            met = moments[item.data.name or ""]
            blocked = _rounded(item, met.second(centred=False), met.positions, rounder) if met.are_known else None
            if blocked is not None:
                rounded[item.weight.name or ""] = blocked
    return rounded


def _portions(products: Iterable[Product], moment_bytes: int) -> Iterator[list[Product]]:
    """Cut the list where moments would take more memory; at least one product in each portion."""
    portion: list[Product] = []
    sizes: dict[str, int] = {}
    for item in products:
        name, size = item.data.name or "", Moments.size(item.rows.shape[1])
        if portion and name not in sizes and sum(sizes.values()) + size > moment_bytes:
            yield portion
            portion, sizes = [], {}
        sizes[name] = size
        portion.append(item)
    if portion:
        yield portion


def _rounded(product: Product, second: np.ndarray, positions: int, rounder: Rounder) -> Blocks | None:
    """Return the weight as integers, by the moments of so many positions; None where the data says nothing."""
    rows, held = product.rows, product.held.format
    if any(is_op(user, "Gather") for user in users(product.weight)):
        second = second + np.eye(len(second)) * np.trace(second) / len(second)
    cancellation = rounder(second, positions)
    if cancellation is None:
        return None
    blocks = round_blocks(rows, held, second)
    repeat, features = held.block or rows.shape[1], rows.shape[1]

    def each(numbers: np.ndarray) -> np.ndarray:
        return np.repeat(numbers.astype(np.float64), repeat, axis=1)[:, :features]

    step = max(1, ROUNDED_AT_ONCE // features)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        middle = held.middle if blocks.zero_points is None else each(blocks.zero_points[part])
        wanted = rows[part].astype(np.float64)
        blocks.integers[part] = cancellation.steps(wanted, each(blocks.scales[part]), limits(held.dtype), middle)
    return refine(rows, blocks, held, cancellation.trusted)
