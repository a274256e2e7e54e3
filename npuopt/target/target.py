"""A target as passes, partition and delegates see it: questions with reasoned answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Verdict:
    """Yes, or every reason why not."""

    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether the answer is yes."""
        return not self.reasons


@dataclass(frozen=True)
class Target:
    """One chip, as its descriptor says."""

    name: str

    def accepts(self, node: ir.Node, scheme: str | None = None) -> Verdict:
        """Say whether the chip's compiler takes `node` computed in `scheme`, else every reason why not."""
        raise NotImplementedError(node, scheme)
