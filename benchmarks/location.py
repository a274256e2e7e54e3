"""Where models lie: those in the repository, and those that `make models` fetched."""

from pathlib import Path

from tools.models.location import models_folder

EXAMPLES = Path(__file__).parent.parent / "examples"

__all__ = ["EXAMPLES", "models_folder"]
