"""torch at the border: its modules, and names for its objects. Nothing else in npuopt imports it.

torch's own annotations are partial, so each name is `Any`; they say what is meant to a reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

from npuopt.errors import ToolchainMissingError

try:
    torch: Any = import_module("torch")
    functional: Any = import_module("torch.nn.functional")
except ImportError as error:
    raise ToolchainMissingError("tuning needs torch", hint="pip install 'npuopt[tune]'") from error

Tensor: TypeAlias = Any  # torch.Tensor
Optimizer: TypeAlias = Any  # torch.optim.Optimizer
