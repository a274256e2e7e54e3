"""What every vendor road offers: take one region, return what the vendor's own tool made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from npuopt.target import Target
    from npuopt.target.probing.answer import Answer
    from npuopt.target.probing.build import Question


STATE = "npuopt.state."
"""Metadata `npuopt.state.INPUT: OUTPUT` of a region makes a state of an input that comes back in the same shape: the
device keeps it between runs. Whoever runs the region by its delegate still gives it and gets it."""


@dataclass(frozen=True)
class NodeOnDevice:
    """Where the vendor's tool put one node of the region, by its own account.

    Attributes:
        name: the node's name in the region, or the tool's name for a node that the tool inserted on the host.
        op_type: as in the region.
        on_npu: whether it runs on the NPU.
        reason: why it does not, or what is special about how it does.
        edge: it quantizes, dequantizes or only lays out an input or output of the graph, which hosts do on purpose.
    """

    name: str
    op_type: str
    on_npu: bool
    reason: str = ""
    edge: bool = False


@dataclass(frozen=True)
class CompiledRegion:
    """A region as the vendor's tool left it.

    Attributes:
        road: the delegate's name, as in the target's `delegate.road`.
        folder: where the files lie.
        files: paths relative to `folder`, the one to load first.
        nodes: what the vendor's tool says went where; empty where the tool does not say.
        figures: sizes in bytes (`*_bytes`), times in seconds (`*_seconds`), the vendor's own estimates.
        tools: package or tool name -> version.
        log: path of the kept log relative to `folder`, or an empty string.
        elsewhere: why it does not run on this machine (`compiled for ...; this machine is ...`), or an empty string.
    """

    road: str
    folder: Path
    files: tuple[str, ...]
    nodes: tuple[NodeOnDevice, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    log: str = ""
    elsewhere: str = ""


@dataclass(frozen=True)
class Limits:
    """Bounds of one vendor tool run: wall-clock seconds and resident memory of its process tree in MiB."""

    seconds: float = 900.0
    memory_mib: int = 16384


class Delegate(Protocol):
    """One vendor road. Every method may raise ToolchainMissingError or VendorToolError."""

    road: ClassVar[str]

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError, with the command that mends it, when the vendor's tool is absent."""
        ...

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Compile the ONNX file `model` for `target` into the existing, empty `folder`."""
        ...

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the compiled region on the vendor's simulator (or runtime), once a sample, all in one tool run.

        Returns:
            The outputs by name, one dict a sample.
        """
        ...


Runner = Callable[[Sequence[Mapping[str, "np.ndarray"]]], "list[dict[str, np.ndarray]]"]
"""Runs a region that is open, once a sample."""


@runtime_checkable
class Opener(Protocol):
    """A delegate that can keep a region open, for callers that run it often: a decoder runs once a token."""

    def open(self, region: CompiledRegion) -> Runner:
        """Open a region that was compiled.

        Raises:
            InputError: when it cannot be opened.
        """
        ...


@runtime_checkable
class Prober(Protocol):
    """A delegate that can also be asked about one-op models, many at once."""

    def probe(
        self,
        questions: Sequence[Question],
        target: Target,
        *,
        limits: Limits,
        progress: Callable[[int], None] = ...,
    ) -> list[Answer]:
        """Put every question to the vendor's compiler.

        Args:
            questions: one-op models with a sample each.
            target: the chip asked about.
            limits: of each tool run.
            progress: called now and then with the number of questions answered.
        """
        ...


@runtime_checkable
class NotProbed(Protocol):
    """A delegate whose compiler cannot be asked about one-op models, and the reason, in words that stand alone."""

    not_probed: ClassVar[str]


@runtime_checkable
class WeightSharer(Protocol):
    """A delegate whose tool puts several regions into one binary, which holds weights that are equal once."""

    def compile_sharing(
        self, models: Sequence[Path], folder: Path, target: Target, *, limits: Limits
    ) -> list[CompiledRegion]:
        """Compile models that lie in `folder`, with names of their own; files are made in a new folder below it.

        Returns:
            A region for each, whose folder is `folder`.
        """
        ...


@runtime_checkable
class LayerReader(Protocol):
    """A delegate whose simulator also shows what single layers make."""

    def run_layers(
        self, region: CompiledRegion, sample: Mapping[str, np.ndarray], target: Target, *, limits: Limits
    ) -> dict[str, np.ndarray]:
        """Run a compiled region once and return what its layers make, by tensor of the region's model."""
        ...
