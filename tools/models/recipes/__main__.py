"""Run one recipe: `python -m tools.models.recipes NAME FOLDER`. `tools.models` calls this in the right environment."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

name, folder = sys.argv[1], Path(sys.argv[2])
model, downloads = folder / "model", folder / "downloads"
model.mkdir()
downloads.mkdir()
importlib.import_module(f"tools.models.recipes.{name}").make(model, downloads)
