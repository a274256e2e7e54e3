"""How each quantizer is started on one file: npuopt by its command line, the others by a job for `quantize_peer`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

from benchmarks.optimize import HERE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_OF_ORT = "ort-minmax"


class Peers(NamedTuple):
    """What runs the other tools, and how much memory they may ask for."""

    python: Path
    gibibytes: float


class Wanted(Protocol):
    """What is to be quantized, and how: what every kind of row says."""

    @property
    def folder(self) -> Path:
        """Holds model.onnx."""
        ...

    @property
    def scheme(self) -> str:
        """How many bits."""
        ...

    @property
    def dims(self) -> Mapping[str, int]:
        """Which to freeze."""
        ...

    @property
    def target(self) -> str:
        """The chip, for npuopt."""
        ...

    @property
    def options(self) -> tuple[str, ...]:
        """Further options for `npuopt quantize`."""
        ...

    @property
    def is_transformer(self) -> bool:
        """For tools that ask."""
        ...


def command(wanted: Wanted, tool: str, peers: Peers, calibration: Path, output: Path) -> list[str]:
    """Return the command that lets one tool quantize; for a peer, its job is written beside the output."""
    source = wanted.folder / "model.onnx"
    if tool == "npuopt":
        dims = [text for name, size in wanted.dims.items() for text in ("--dim", f"{name}={size}")]
        options = ["--precision", wanted.scheme, "--calibration", str(calibration), *wanted.options]
        asked = ["quantize", str(source), "--target", wanted.target, "-o", str(output), *dims, *options]
        return [sys.executable, "-m", "npuopt", *asked]
    job = {
        "tool": tool,
        "source": str(source),
        "output": str(output),
        "scheme": wanted.scheme,
        "calibration": str(calibration),
        "gibibytes": peers.gibibytes,
        "dims": dict(wanted.dims),
        "is_transformer": wanted.is_transformer,
    }
    path = output.with_suffix(".json")
    path.write_text(json.dumps(job), encoding="utf-8")
    return [str(peers.python), str(HERE / "quantize_peer.py"), str(path)]
