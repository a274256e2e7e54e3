"""Importing this first puts off imports that onnx-ir makes and npuopt hardly ever needs.

onnx-ir does arithmetic on symbolic dims with sympy, which takes longer to import than all the rest. npuopt names dims
and compares the names; sympy is imported when somebody first calculates with them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

PARSER = "onnx_ir._symbolic_shapes"
"""onnx-ir's own module for such arithmetic, which asks for parts of sympy at once."""


class Deferred(ModuleType):
    """Stands for a module until the first of its attributes is wanted."""

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("__") and attribute not in ("__all__", "__path__", "__version__"):
            raise AttributeError(f"{self.__name__} is not imported yet")  # people look into all modules for those
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), attribute)


def _defer() -> None:
    if "onnx_ir" in sys.modules or "sympy" in sys.modules:
        return
    sympy = Deferred("sympy")
    sympy.__spec__ = find_spec("sympy")
    sys.modules.update({"sympy": sympy, PARSER: Deferred(PARSER)})


_defer()
