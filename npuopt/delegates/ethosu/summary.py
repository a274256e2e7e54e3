"""Vela's own estimates, from the row of its summary file."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

AREAS = ("sram", "dram", "on_chip_flash", "off_chip_flash")


def figures(row: Mapping[str, str]) -> dict[str, Any]:
    """Return cycles, inferences a second, bytes of memory, multiply-adds and weights.

    Cycles of a memory are those in which it is accessed; they pass at the same time as those of the NPU, so that the
    total is about the largest of them for each operation. Vela gives memory in KiB.

    Raises:
        ValueError, KeyError: the row is not as Vela 5 writes it.
    """
    number = {name: float(row[name]) for name in _columns()}
    speed = number["inferences_per_second"]
    return {
        "cycles": {
            "npu": round(number["cycles_npu"]),
            **{area: round(number[f"cycles_{area}_access"]) for area in AREAS},
            "total": round(number["cycles_total"]),
        },
        "inferences_per_second": speed if isfinite(speed) else None,
        "clock_mhz": number["core_clock"] / 1e6,
        **{f"{area}_bytes": round(number[f"{area}_memory_used"] * 1024) for area in AREAS},
        "macs": round(number["nn_macs"]),
        "weights_bytes": round(number["total_original_weights"]),
        "encoded_weights_bytes": round(number["total_npu_encoded_weights"]),
        "weights_in": row["weights_storage_area"],
        "feature_maps_in": row["feature_map_storage_area"],
    }


def _columns() -> list[str]:
    return [
        "cycles_npu",
        "cycles_total",
        "inferences_per_second",
        "core_clock",
        "nn_macs",
        "total_original_weights",
        "total_npu_encoded_weights",
        *(f"cycles_{area}_access" for area in AREAS),
        *(f"{area}_memory_used" for area in AREAS),
    ]
