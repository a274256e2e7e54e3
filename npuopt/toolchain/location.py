"""Where toolchains lie."""

from __future__ import annotations

import os
from pathlib import Path


def toolchains_folder() -> Path:
    """Return $NPUOPT_TOOLCHAINS, or npuopt/toolchains in the user's cache folder; it need not exist."""
    if chosen := os.environ.get("NPUOPT_TOOLCHAINS"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache").absolute() / "npuopt" / "toolchains"
