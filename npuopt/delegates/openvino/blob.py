"""What an NPU blob was built for, read from its own footer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from npuopt.errors import VendorToolError

if TYPE_CHECKING:
    from pathlib import Path

FOOTER_BYTES = 1 << 16
PLATFORM = re.compile(rb"\bnpu=(\d{4})(?!\d)")
"""The text that OpenVINO 2026.4 writes behind the compiled network."""


def read_platform(blob: Path) -> str:
    """Return the platform's number in a blob's footer, such as `4000`.

    Raises:
        VendorToolError: when the footer names none, or several.
    """
    with blob.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - FOOTER_BYTES))
        found = sorted({match[1].decode() for match in PLATFORM.finditer(file.read())})
    if len(found) != 1:
        said = " and ".join(found) or "no platform"
        raise VendorToolError(f"the blob's footer names {said}", where=str(blob))
    return found[0]
