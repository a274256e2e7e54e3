"""ONNX text as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    from pathlib import Path

HEADER = '<ir_version: 10, opset_import: ["" : 24]>'


def save_text(path: Path, text: str) -> Path:
    """Save ONNX text, with or without a header, as a model file and return its path."""
    whole = text if text.lstrip().startswith("<") else f"{HEADER} g {text}"
    onnx.save(onnx.parser.parse_model(whole), path)
    return path
