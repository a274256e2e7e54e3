"""The artifact on disk: its folder, its manifest and their integrity."""

from npuopt.bundle.files import describe_files, sha256
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
from npuopt.bundle.target_file import TARGET_FILE, read_target, write_target

__all__ = [
    "MANIFEST",
    "TARGET_FILE",
    "FileRecord",
    "Manifest",
    "NodeRecord",
    "OutputComparison",
    "PassRecord",
    "PlacementSummary",
    "Stage",
    "Step",
    "atomic_folder",
    "describe_files",
    "read_manifest",
    "read_target",
    "sha256",
    "write_target",
]
