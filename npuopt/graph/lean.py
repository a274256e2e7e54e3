"""Opens a model that is run often, by a program that has more to hold than this model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph.execution import Session
from npuopt.graph.large_products import split_large_products
from npuopt.graph.loading import load
from npuopt.graph.queries import element_type, nodes

if TYPE_CHECKING:
    from pathlib import Path


def open_lean(path: Path, *, threads: int = 0) -> Session:
    """Open a model so that it takes little memory, at the same numbers.

    Weights are read where they lie in their file, once for all models opened so; large dequantized ones are floats a
    block at a time; what a run needs is given back after it.

    Args:
        path: an ONNX file.
        threads: of the session; 0: as many as there are cores.

    Raises:
        InputError: when the file is no model, or ONNX Runtime cannot load it.
    """
    model = load(path)
    split_large_products(model)
    kinds = [element_type(node.inputs[0]) for node in nodes(model, "DequantizeLinear")]
    # ONNX Runtime's optimizer fuses floats of 8 bits into products for which it has no kernels.
    optimize = not any(kind is not None and kind.name.startswith("FLOAT8") for kind in kinds)
    return Session(model, optimize=optimize, threads=threads, lean=True)
