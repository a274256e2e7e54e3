"""Finds the delegate of a road, without importing any other."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, cast

from npuopt.errors import UsageError

if TYPE_CHECKING:
    from npuopt.delegates.contract import Delegate

ROADS = {
    "qnn": "npuopt.delegates.qnn.delegate:QnnDelegate",
    "tvm": "npuopt.delegates.host.tvm_delegate:TvmDelegate",
    "ort": "npuopt.delegates.host.ort_delegate:OrtDelegate",
}


def find_delegate(road: str) -> Delegate:
    """Return the delegate of a road: npuopt's own, or one of an `npuopt.delegates` entry point.

    Raises:
        UsageError: when no delegate is called so.
    """
    if road in ROADS:
        module, _, name = ROADS[road].partition(":")
        return cast("Delegate", getattr(importlib.import_module(module), name)())
    plug_ins = {entry.name: entry for entry in entry_points(group="npuopt.delegates")}
    if road in plug_ins:
        return cast("Delegate", plug_ins[road].load()())
    known = ", ".join(sorted({*ROADS, *plug_ins}))
    raise UsageError(f"there is no delegate for the road {road!r}", hint=f"known roads: {known}")
