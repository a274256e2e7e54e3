"""The artifact on disk: its folder, its manifest and their integrity."""

from npuopt.bundle.embedding import EmbeddingTable
from npuopt.bundle.files import describe_files, sha256
from npuopt.bundle.folder import MANIFEST, atomic_folder
from npuopt.bundle.language_model import (
    AdapterInput,
    CacheForm,
    CacheTensor,
    CrossCache,
    GraphPart,
    HeldAs,
    LanguageModelRecord,
    MaskInput,
    Profile,
    SourceRecord,
    bias_by_distance,
)
from npuopt.bundle.manifest import (
    FileRecord,
    Manifest,
    NodeRecord,
    OutputComparison,
    PassRecord,
    PlacementSummary,
    Stage,
    read_manifest,
)
from npuopt.bundle.manifest_parts import Step
from npuopt.bundle.target_file import TARGET_FILE, read_target, write_target

__all__ = [
    "MANIFEST",
    "TARGET_FILE",
    "AdapterInput",
    "CacheForm",
    "CacheTensor",
    "CrossCache",
    "EmbeddingTable",
    "FileRecord",
    "GraphPart",
    "HeldAs",
    "LanguageModelRecord",
    "Manifest",
    "MaskInput",
    "NodeRecord",
    "OutputComparison",
    "PassRecord",
    "PlacementSummary",
    "Profile",
    "SourceRecord",
    "Stage",
    "Step",
    "atomic_folder",
    "bias_by_distance",
    "describe_files",
    "read_manifest",
    "read_target",
    "sha256",
    "write_target",
]
