"""Cuts regions whose weights are more than a target takes at once into shards that run one after the other."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from npuopt.errors import PlacementError
from npuopt.graph import label
from npuopt.partition.regions import Region
from npuopt.partition.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npuopt.partition.flow import Flow
    from npuopt.target import Target


def sharded(flow: Flow, regions: Sequence[Region], target: Target, scheme: str | None) -> list[Region]:
    """Return the regions, those cut whose weights exceed what the target's descriptor allows in one.

    A shard is a stretch of its region in graph order, so what it reads was made ahead of it. It ends where the least
    has to be handed over, in the second half of what would fit: between two layers, where a model has some.

    Args:
        flow: the graph.
        regions: in an order in which they can run.
        target: whose `memory.max_region_kib` is the limit; nothing is cut without one.
        scheme: what float nodes are computed in; the float scheme when None.

    Raises:
        PlacementError: when the weights of one node alone are more.
    """
    limit = target.memory.max_region_kib
    chosen = scheme or target.float_scheme or next(iter(target.schemes))
    if limit is None:
        return list(regions)
    storage = Storage(flow.nodes, target, chosen)
    found: list[Region] = []
    for region in regions:
        if region.kind == "host":
            found.append(region)
            continue
        members = sorted(region.members)
        weights = [storage.weight_bytes(flow.nodes[index]) for index in members]
        _require_room(flow, members, weights, limit * 1024, target)
        places = _cuts(weights, _handed_over(flow, members, storage), limit * 1024)
        ends = zip([0, *places], [*places, len(members)], strict=True)
        found += [Region("npu", region.stage, tuple(members[first:last])) for first, last in ends]
    return found


def _require_room(flow: Flow, members: Sequence[int], weights: Sequence[int], limit: int, target: Target) -> None:
    largest = max(range(len(members)), key=weights.__getitem__)
    if weights[largest] > limit:
        raise PlacementError(
            f"holds {weights[largest]:,} bytes of weights, and {target.name} takes {limit:,} bytes in one region",
            where=f"node {label(flow.nodes[members[largest]])}",
            hint="hold weights in fewer bits with --precision, or choose another target",
        )


def _cuts(weights: Sequence[int], handed_over: Sequence[int], limit: int) -> list[int]:
    """Return the places ahead of which a new shard begins, so that none holds more than `limit`.

    Args:
        weights: bytes of each node, none above `limit`.
        handed_over: bytes of what crosses a cut ahead of each node.
        limit: bytes.
    """
    places: list[int] = []
    start, total = 0, 0
    for place, size in enumerate(weights):
        while total + size > limit:
            held = list(accumulate(weights[start:place]))
            fitting = [start + 1 + index for index, sum_ in enumerate(held) if 2 * sum_ >= total]
            start = min(fitting, key=lambda cut: (handed_over[cut], -cut))
            places.append(start)
            total = sum(weights[start:place])
        total += size
    return places


def _handed_over(flow: Flow, members: Sequence[int], storage: Storage) -> list[int]:
    """Return, for each member, the bytes of what those ahead of it make and it or later ones read."""
    place_of = {index: place for place, index in enumerate(members)}
    last: dict[int, int] = {}
    for index in members:
        for value in flow.reads[index]:
            maker = flow.maker(flow.origin(value)[0])
            if maker in place_of:
                last[maker] = place_of[index]
    changes = [0] * (len(members) + 1)
    for maker, place in last.items():
        buffers = [storage.buffer(value) for value in flow.nodes[maker].outputs]
        size = sum(buffer.bytes for buffer in buffers if buffer is not None)
        changes[place_of[maker] + 1] += size
        changes[place + 1] -= size
    return list(accumulate(changes))[: len(members)]
