"""Brings models to the canonical opset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    pass

CANONICAL_OPSET = 24
"""The version of the standard domain that every loaded model is in."""

CANONICAL_IR_VERSION = 12
"""The IR version that came with it."""


def convert_opset(model: ir.Model, where: str = "") -> None:
    """Convert the model to the canonical opset, in place."""
