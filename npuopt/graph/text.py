"""The model as ONNX text: for people, dumps and tests."""

from __future__ import annotations

import difflib

import onnx.parser
import onnx.printer
import onnx_ir as ir

from npuopt.errors import InputError
from npuopt.graph.headers import declared_proto

SMALL_ENOUGH_TO_PRINT = 8
"""Elements up to which the text shows an initializer's value: axes, scales, most shapes."""


def parse(text: str) -> ir.Model:
    """Read a model from ONNX text.

    Raises:
        InputError: with the parser's line, column and context.
    """
    try:
        proto = onnx.parser.parse_model(text)
    except onnx.parser.ParseError as error:
        said = error.args[0] if error.args else ""
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise InputError(f"not ONNX text: {' '.join(text.split())}") from None
    return ir.from_proto(proto)


def to_text(model: ir.Model, values_up_to: int = SMALL_ENOUGH_TO_PRINT) -> str:
    """Write the model as ONNX text without its weights.

    Args:
        model: stays as it is; its weights are not read.
        values_up_to: number of elements up to which an initializer is printed with its value; larger ones are
            declared with their type and shape alone.
    """
    return onnx.printer.to_text(declared_proto(model, keep=values_up_to))


def diff(before: str, after: str) -> str:
    """Compare two texts line by line, three lines of context; empty when they are the same."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)
