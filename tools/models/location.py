"""Where the real models lie."""

from __future__ import annotations

import os
from pathlib import Path


def models_folder() -> Path:
    """Return the folder of the fetched models: $NPUOPT_MODELS, or npuopt/models in the user's cache folder."""
    if chosen := os.environ.get("NPUOPT_MODELS"):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "npuopt" / "models"
