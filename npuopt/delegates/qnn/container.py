"""Containers of Qualcomm's own tools (.dlc): written by the provider, opened again, and accounted for."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuopt.delegates.process import run_child
from npuopt.errors import VendorToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.delegates.contract import Limits

WORKER = Path(__file__).with_name("worker.py")
TOOL = "the QNN provider"
LOG_FILE = "dlc.log"
GRAPH, METADATA = "model", "dlc.metadata"
"""Names of a container's parts, as its zip directory has them: the graph, and what wrote it."""


def write_containers(
    model: Path, folder: Path, options: Mapping[str, str], *, limits: Limits
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Write `model.dlc` (with several graphs also `model-2.dlc` ...) into `folder`.

    Args:
        model: a region.
        folder: of the region's artifact.
        options: the provider's, for the chip.
        limits: of the child process.

    Returns:
        The files, and figures about them.

    Raises:
        VendorToolError: the provider failed, wrote none, or what it wrote is no container with a graph in it.
    """
    scratch = folder / "dlc"
    scratch.mkdir()
    request = {
        "operation": "export",
        "model": str(model.resolve()),
        "folder": str(scratch.resolve()),
        "provider_options": dict(options),
    }
    answer = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits).require(TOOL, where=str(model))
    found = sorted(scratch.glob("*.dlc"))
    if not found:
        raise VendorToolError(f"{TOOL} wrote no .dlc container", where=str(model))
    names = [f"{model.stem}.dlc" if index == 1 else f"{model.stem}-{index}.dlc" for index in range(1, len(found) + 1)]
    for path, name in zip(found, names, strict=True):
        _ensure_has_a_graph(path)
        path.chmod(0o644)
        path.rename(folder / name)
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()
    size = sum((folder / name).stat().st_size for name in names)
    return tuple(names), {"dlc_bytes": size, "dlc_seconds": float(answer["seconds"])}


def _ensure_has_a_graph(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as container:
            parts = container.namelist()
    except (OSError, zipfile.BadZipFile) as error:
        raise VendorToolError(f"{TOOL} wrote a damaged container ({error})", where=str(path)) from error
    if GRAPH not in parts or not any(name.startswith(METADATA) for name in parts):
        raise VendorToolError(f"the container has no graph, only {', '.join(sorted(parts))}", where=str(path))
