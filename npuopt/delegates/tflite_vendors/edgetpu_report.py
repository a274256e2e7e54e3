"""What Google's Edge TPU compiler prints: which operators it mapped, and what lies in the chip's memory."""

from __future__ import annotations

import re
from typing import Any

MAPPED = "Mapped to Edge TPU"
VERSION = re.compile(r"^Edge TPU Compiler version (\d[\w.]{0,40})\s*$", re.MULTILINE)
ROW = re.compile(r"^([A-Z][A-Z0-9_]{0,60}) {2,80}(\d{1,9}) {2,80}(\S[^\n]{0,200})$", re.MULTILINE)
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
SIZE = r"(\d{1,12}(?:\.\d{1,6})?)(B|KiB|MiB|GiB)\s*"
SIZES = {
    "on_chip_bytes": "On-chip memory used for caching model parameters",
    "on_chip_free_bytes": "On-chip memory remaining for caching model parameters",
    "off_chip_bytes": "Off-chip memory used for streaming uncached model parameters",
}
SUBGRAPHS = re.compile(r"^Number of Edge TPU subgraphs: (\d{1,9})\s*$", re.MULTILINE)
MOST_ROWS = 1000


def read_report(printed: str) -> dict[str, Any]:
    """Return sizes in bytes, how many operators were mapped, and why others were not.

    What the text does not say is left out. `statuses` has, for each operator that was not mapped at all or in part,
    what the compiler says of it; `tools` its version.
    """
    rows = [(match[1], int(match[2]), match[3].strip()) for match in ROW.finditer(printed)][:MOST_ROWS]
    found: dict[str, Any] = {"statuses": {name: why for name, _, why in rows if why != MAPPED}}
    if rows:
        found["mapped_operators"] = sum(count for _, count, why in rows if why == MAPPED)
        found["unmapped_operators"] = sum(count for _, count, why in rows if why != MAPPED)
    for key, title in SIZES.items():
        if match := re.search(rf"^{re.escape(title)}: {SIZE}$", printed, re.MULTILINE):
            found[key] = round(float(match[1]) * BYTES[match[2]])
    if match := SUBGRAPHS.search(printed):
        found["npu_subgraphs"] = int(match[1])
    if match := VERSION.search(printed):
        found["tools"] = {"edgetpu_compiler": match[1]}
    return found
