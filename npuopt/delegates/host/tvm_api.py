"""TVM at the border: its modules, and names for its objects. Nothing else in npuopt imports the compiler.

TVM ships no types that a checker could use, so each name is `Any`; they say what is meant to a reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast

import tvm as _tvm  # pyright: ignore[reportMissingTypeStubs] -- there are none
import tvm.relax.frontend.onnx.onnx_frontend as _frontend  # pyright: ignore[reportMissingTypeStubs] -- there are none

tvm = cast("Any", _tvm)
relax, s_tir, te, tirx = tvm.relax, tvm.s_tir, tvm.te, tvm.tirx
onnx_frontend = cast("Any", _frontend)

Module: TypeAlias = Any  # tvm.IRModule
Function: TypeAlias = Any  # tvm.tirx.PrimFunc
Executable: TypeAlias = Any
CpuTarget: TypeAlias = Any  # tvm.target.Target
Pass: TypeAlias = Any
Builder: TypeAlias = Any  # tvm.relax.BlockBuilder
Call: TypeAlias = Any  # of an operator, in Relax or in loops
Expression: TypeAlias = Any
Tensor: TypeAlias = Any  # tvm.te.Tensor
Index: TypeAlias = Any  # an integer expression
Schedule: TypeAlias = Any  # tvm.s_tir.Schedule
Block: TypeAlias = Any
Loop: TypeAlias = Any
Buffer: TypeAlias = Any
Iterator: TypeAlias = Any  # tvm.tirx.IterVar


class Element(Protocol):
    """What one element of a tensor is, by its place."""

    def __call__(self, *index: Index) -> Expression:
        """Return the element's expression."""


def compute(
    shape: Sequence[Index],
    element: Element | Callable[..., Expression],
    name: str,
    annotations: Mapping[str, str | int] | None = None,
) -> Tensor:
    """A tensor made element by element; its block carries the annotations."""
    return te.compute(tuple(shape), element, name=name, attrs=dict(annotations or {}))
