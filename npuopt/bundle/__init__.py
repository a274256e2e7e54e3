"""The artifact on disk: its folder, its manifest and their integrity."""

from npuopt.bundle.folder import MANIFEST, atomic_folder
from npuopt.bundle.manifest import (
    FileRecord,
    Manifest,
    NodeRecord,
    OutputComparison,
    PassRecord,
    PlacementSummary,
    Stage,
    Step,
    read_manifest,
)

__all__ = [
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "NodeRecord",
    "OutputComparison",
    "PassRecord",
    "PlacementSummary",
    "Stage",
    "Step",
    "atomic_folder",
    "read_manifest",
]
