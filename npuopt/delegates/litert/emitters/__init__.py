"""One file for each family of ops: tables of ONNX op type -> what writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.delegates.litert.emitters import elementwise, movement, products, reductions, windows

if TYPE_CHECKING:
    from npuopt.delegates.litert.step import Emitter

EMITTERS: dict[str, Emitter] = {
    **elementwise.EMITTERS,
    **movement.EMITTERS,
    **products.EMITTERS,
    **reductions.EMITTERS,
    **windows.EMITTERS,
}
"""Standard op -> its emitter."""
