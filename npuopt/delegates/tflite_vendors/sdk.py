"""Finds what LiteRT's ahead-of-time tool needs of a vendor: LiteRT's plug-in, and the vendor's SDK."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.errors import ToolchainMissingError

if TYPE_CHECKING:
    from npuopt.target.roads import LiteRtAotDelegate as Settings

LITERT = "ai_edge_litert"
TOOL = "tools/apply_plugin_main"
MOST_FOLDERS = 100
"""That a pattern for the SDK's folder of libraries may match."""


@dataclass(frozen=True)
class Tool:
    """LiteRT's ahead-of-time tool, with one vendor's plug-in."""

    program: Path
    plug_in: Path
    libraries: Path


def variable(chip: Settings) -> str:
    """Return the environment variable that may name the SDK's folder."""
    return f"NPUOPT_{chip.vendor.upper()}_SDK"


def package(chip: Settings) -> str:
    """Return the name, in the package index, of the package that brings the SDK."""
    return f"ai-edge-litert-sdk-{chip.vendor.replace('_', '-')}"


def find_tool(chip: Settings) -> Tool | None:
    """Return the tool and the plug-in in the installed LiteRT, or None where it has none for this machine."""
    folder = _package_folder(LITERT)
    if folder is None:
        return None
    plug_in = folder / "vendors" / chip.vendor / "compiler"
    there = (folder / TOOL).is_file() and any(plug_in.glob("*.so"))
    return Tool(folder / TOOL, plug_in, folder) if there else None


def find_sdk(chip: Settings) -> Path | None:
    """Return the folder of the SDK's libraries: below what the variable names, else in the SDK's package.

    Raises:
        ToolchainMissingError: the variable names a folder without the library.
    """
    named = os.environ.get(variable(chip))
    if named:
        found = _libraries(Path(named), chip)
        if found is None:
            raise ToolchainMissingError(
                f"{variable(chip)} names {named}, where there is no {chip.library}",
                hint="name the folder of the SDK or of its libraries, or unset it to stop at the TFLite model",
            )
        return found
    folder = _package_folder(f"ai_edge_litert_sdk_{chip.vendor}")
    return None if folder is None else _libraries(folder / "data", chip)


def _libraries(folder: Path, chip: Settings) -> Path | None:
    below = sorted(islice(folder.glob(chip.sdk_folder), MOST_FOLDERS), reverse=True) if chip.sdk_folder else []
    return next((place.resolve() for place in (folder, *below) if (place / chip.library).is_file()), None)


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None
