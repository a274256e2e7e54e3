"""Which channels need the same factor, and which reciprocal ones, where products sum over the channels of two layers.

A product `q k` stays as it is where each channel of `k` is divided by what `q`'s is multiplied by. One channel may meet
many: a key head that several query heads read, channels that a rotary embedding turns in pairs, a tensor read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from npuopt.graph import Node
    from npuopt.quantization.channels.joint import Joint, Product

Side = tuple["Joint", "Product"]


@dataclass(frozen=True)
class Link:
    """Joints whose factors depend on one another.

    Attributes:
        sides: both sides of each product between them.
        bundles: of each channel, by the joint's name, which channels it goes with; -1: its factor stays 1.
        signs: whether the bundle's factor divides the channel (1) or multiplies it (-1), by the joint's name.
        count: how many bundles there are.
    """

    sides: list[tuple[Side, Side]]
    bundles: dict[str, np.ndarray]
    signs: dict[str, np.ndarray]
    count: int

    def factors(self, of_bundles: np.ndarray) -> dict[str, np.ndarray]:
        """Return what each joint's channels are divided by, given a factor for each bundle."""
        padded = np.append(of_bundles, 1.0)
        return {name: padded[held] ** self.signs[name] for name, held in self.bundles.items()}


def links(found: Sequence[Joint], fixed: Sequence[Joint]) -> list[Link]:
    """Group joints by the products between them.

    Args:
        found: joints, in graph order; the channels of the first of those that a bundle holds are divided.
        fixed: those of them whose factors are 1.
    """
    if not found:
        return []
    sides: dict[Node, dict[int, Side]] = {}
    for joint in found:
        for product in joint.products:
            sides.setdefault(product.node, {})[product.index] = joint, product
    places = dict(zip([joint.name for joint in found], np.cumsum([0, *(joint.count for joint in found)]), strict=False))
    total = sum(joint.count for joint in found)
    free, pinned = np.zeros(total, bool), np.zeros(total, bool)
    for joint in fixed:
        pinned[places[joint.name] :][: joint.count] = True
    met: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    for held in sides.values():
        numbered = {index: product.channels + places[joint.name] for index, (joint, product) in held.items()}
        both = len(held) > 1
        for channels in numbered.values():
            (free if both else pinned)[channels] = True
        met += [_met(numbered[0], numbered[1])] if both else []
    ties = [joint.ties + places[joint.name] for joint in found]
    bundles, signs = _bundles(np.concatenate(met), np.concatenate(ties), pinned | ~free)
    return list(_grouped([held for held in sides.values() if len(held) > 1], places, bundles, signs))


def _met(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the pairs of channels that meet in a product, as far as they tell which go together, [pairs, 2]."""
    across = np.swapaxes(columns, -1, -2)
    pairs = [
        np.stack(np.broadcast_arrays(rows, across[..., :1, :]), -1).reshape(-1, 2),
        np.stack(np.broadcast_arrays(rows[..., :1, :], across), -1).reshape(-1, 2),
    ]
    return np.unique(np.concatenate(pairs), axis=0)


def _bundles(met: np.ndarray, ties: np.ndarray, pinned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each channel's bundle and sign, by the components of a graph that has every channel with either sign."""
    count = len(pinned)
    opposite = np.array([0, count], np.int64)
    ends: np.ndarray = np.concatenate([met + opposite, met + opposite[::-1], ties, ties + count]).astype(np.int64)
    labels = np.arange(2 * count)
    while True:
        least = labels.copy()
        np.minimum.at(least, ends[:, 0], labels[ends[:, 1]])
        np.minimum.at(least, ends[:, 1], labels[ends[:, 0]])
        least = least[least]
        if (least == labels).all():
            break
        labels = least
    plus, minus = labels[:count], labels[count:]
    bundle = np.minimum(plus, minus)
    stuck = pinned | (plus == minus)
    bundle[np.isin(bundle, bundle[stuck])] = -1
    return bundle, np.where(plus <= minus, 1, -1)


def _grouped(
    held: list[dict[int, Side]], places: dict[str, int], bundles: np.ndarray, signs: np.ndarray
) -> Iterator[Link]:
    """Yield the products that have joints in common, with the bundles counted from 0."""
    groups: list[tuple[set[str], list[dict[int, Side]]]] = []
    for item in held:
        names = {joint.name for joint, _ in item.values()}
        joined = [group for group in groups if group[0] & names]
        groups = [group for group in groups if not group[0] & names]
        groups.append(
            (names.union(*(one for one, _ in joined)), [*(each for _, some in joined for each in some), item])
        )
    for _, items in groups:
        joints = {joint.name: joint for item in items for joint, _ in item.values()}
        known = {name: bundles[places[name] :][: joint.count] for name, joint in joints.items()}
        present = np.unique(np.concatenate(list(known.values())))
        present = present[present >= 0]
        yield Link(
            [(item[0], item[1]) for item in items],
            {name: np.where(own < 0, -1, np.searchsorted(present, own)) for name, own in known.items()},
            {name: signs[places[name] :][: joint.count] for name, joint in joints.items()},
            len(present),
        )
