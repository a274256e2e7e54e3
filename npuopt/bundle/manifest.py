"""The manifest: what the artifact is, what it was made from and by what, and where every node went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from npuopt.bundle.folder import MANIFEST
from npuopt.bundle.language_model import LanguageModelRecord
from npuopt.bundle.manifest_parts import RelativePath, Step, StrictRecord
from npuopt.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "npuopt-artifact/1"
MAX_MANIFEST_BYTES = 256 << 20


class FileRecord(StrictRecord):
    """A file's size in bytes and its SHA-256."""

    bytes: int
    sha256: str


class PassRecord(StrictRecord):
    """What one pass did; `declined` counts nodes whose pattern was there and was left alone."""

    name: str
    changed: int
    declined: int
    seconds: float
    nodes_before: int
    nodes_after: int
    notes: tuple[str, ...] = ()


class NodeRecord(StrictRecord):
    """Where one node went and why; `edge` is what the host computes ahead of a region, see PlacementSummary."""

    name: str
    op_type: str
    domain: str
    placement: Literal["npu", "host", "edge"]
    region: str
    reasons: tuple[str, ...] = ()
    lowered_by: tuple[str, ...] = ()


class PlacementSummary(StrictRecord):
    """Counts of nodes; `edge` are those at the graph's edge, counted apart from both.

    At the edge, the host computes on purpose: quantize/dequantize nodes, which `nodes` of the manifest does not list,
    and index arithmetic and embedding lookups ahead of the device.

    `npu_mac_fraction` is the share of multiply-accumulates on the NPU.
    """

    nodes: int
    npu: int
    host: int
    edge: int
    npu_fraction: float
    npu_mac_fraction: float


class OutputComparison(StrictRecord):
    """One output against its reference; SQNR in dB, None where it is infinite (equal) or undefined.

    `other_size` samples have an output of another size and are left out.
    """

    cosine: float | None
    sqnr_db: float | None
    max_abs: float | None
    elements: int
    other_size: int = 0


class Stage(StrictRecord):
    """One comparison: of what against what, over how many samples, per output; or why there is none.

    `inner` comparisons are of tensors between layers, which tell where an error begins, and of no output.
    """

    name: str
    against: str
    samples: int
    outputs: dict[str, OutputComparison]
    skipped: str = ""
    inner: bool = False


class Manifest(StrictRecord):
    """The whole record of one compile. Same inputs give the same manifest but for `created` and seconds."""

    format: Literal["npuopt-artifact/1"] = FORMAT
    created: str
    npuopt: str
    source: dict[str, Any]
    target: dict[str, str]
    recipe: dict[str, Any]
    tools: dict[str, str]
    passes: tuple[PassRecord, ...]
    legalization: tuple[dict[str, Any], ...] = ()
    dropped_inputs: tuple[str, ...] = ()
    placement: PlacementSummary
    nodes: tuple[NodeRecord, ...]
    calibration: dict[str, Any] = Field(default_factory=dict)
    encodings: dict[str, Any] = Field(default_factory=dict)
    steps: tuple[Step, ...]
    language_model: LanguageModelRecord | None = None
    verification: tuple[Stage, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    files: dict[RelativePath, FileRecord] = Field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        (folder / MANIFEST).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read and validate an artifact's manifest.

    Raises:
        InputError: when there is none, it is too large, or it does not validate.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError("is no npuopt artifact: it has no manifest.json", where=str(folder))
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise InputError(f"is larger than {MAX_MANIFEST_BYTES} bytes", where=str(path))
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"does not validate: {place}: {first['msg']}", where=str(path)) from error
