"""What records of an artifact are made of: strict models, paths that stay inside, steps of the execution order."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _inside(path: str) -> str:
    parts = PurePosixPath(path)
    if not path or parts.is_absolute() or ".." in parts.parts or "\\" in path or "\0" in path:
        raise ValueError(f"{path!r} leads out of the artifact")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]


class StrictRecord(BaseModel):
    """A record that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(StrictRecord):
    """One step of the execution order: a compiled region or a host part.

    Attributes:
        name: of the part.
        kind: `npu` or `host`.
        road: of the delegate that compiled it.
        model: the part as an ONNX model.
        files: what the delegate made of it, the one to load first; of roads that run ONNX, the model itself.
        folder: where the delegate found or put its files.
        inputs, outputs: values by name.
        figures: the delegate's.
        log: its log, or an empty string.
    """

    name: str
    kind: Literal["npu", "host"]
    road: str
    model: RelativePath
    files: tuple[RelativePath, ...] = ()
    folder: RelativePath = "."
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    figures: dict[str, Any] = Field(default_factory=dict)
    log: str = ""
