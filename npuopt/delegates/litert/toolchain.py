"""Is LiteRT there?"""

from __future__ import annotations

import importlib.util

from npuopt.errors import ToolchainMissingError

INSTALL = 'pip install "npuopt[litert]"'


def ensure_available() -> None:
    """Look for the package without importing it.

    Raises:
        ToolchainMissingError: with the command that installs it.
    """
    missing = [name for name in ("ai_edge_litert", "flatbuffers") if importlib.util.find_spec(name) is None]
    if missing:
        raise ToolchainMissingError(f"LiteRT is not installed ({missing[0]} is missing)", hint=INSTALL)
