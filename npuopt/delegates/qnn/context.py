"""What a compiled region is, read from its own files: the EPContext model and the binary beside it."""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from npuopt.delegates.samples import read_header
from npuopt.errors import InputError, VendorToolError

if TYPE_CHECKING:
    import onnx

BUILT_FOR = {
    "soc": re.compile(rb"\bsoc_type=([A-Za-z0-9_]{1,32});"),
    "arch": re.compile(rb";arch=(\d{1,4});"),
    "vtcm_bytes": re.compile(rb"\bvtcm_size=(\d{1,12});"),
}
"""Settings that the compiler writes as text into each graph of its binary."""


@dataclass(frozen=True)
class Context:
    """A compiled region.

    Attributes:
        model: the EPContext model.
        binary: the vendor's binary.
        header: the model without external data.
        sdk: version of the vendor's tools, as they wrote it into the model.
        graphs: number of NPU graphs.
        soc: the chip it was built for, by the binary's own text, such as SM8750.
        arch: its architecture, such as v79.
        vtcm_bytes: on-chip memory that the graph was planned for.
    """

    model: Path
    binary: Path
    header: onnx.ModelProto
    sdk: str
    graphs: int
    soc: str
    arch: str
    vtcm_bytes: int


def read_context(path: Path) -> Context:
    """Read a compiled region from its EPContext model.

    Raises:
        InputError: when the file is no EPContext model, or its binary is missing or lies elsewhere.
        VendorToolError: when the binary does not say what it was built for.
    """
    header = read_header(path)
    contexts = [_attributes(node) for node in header.graph.node if node.op_type == "EPContext"]
    if not contexts:
        raise InputError("holds no EPContext node, so nothing in it is compiled", where=str(path))
    names = {str(attributes.get("ep_cache_context", "")) for attributes in contexts} - {""}
    name = next(iter(names), "")
    if len(names) != 1 or Path(name).name != name or not (path.parent / name).is_file():
        raise InputError("the binary of the compiled region is not beside it", where=str(path), hint="compile it again")
    binary = path.parent / name
    built = _built_for(binary)
    sdk = str(contexts[0].get("ep_sdk_version", ""))
    arch, vtcm = f"v{built['arch']}", int(built["vtcm_bytes"])
    return Context(path, binary, header, sdk, len(contexts), built["soc"], arch, vtcm)


def _attributes(node: onnx.NodeProto) -> dict[str, str | int]:
    return {item.name: item.s.decode(errors="replace") if item.s else item.i for item in node.attribute}


def _built_for(binary: Path) -> dict[str, str]:
    """Find soc, arch and vtcm_bytes in the binary's text; every graph in it must say the same."""
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = {key: {match[1].decode() for match in pattern.finditer(data)} for key, pattern in BUILT_FOR.items()}
    if unclear := [key for key, values in found.items() if len(values) != 1]:
        said = ", ".join(sorted(found[unclear[0]])) or "nothing"
        raise VendorToolError(f"the binary says {said} about its {unclear[0]}", where=str(binary))
    return {key: next(iter(values)) for key, values in found.items()}
