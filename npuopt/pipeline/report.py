"""What a pass says of its own work."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """One node and one sentence about it."""

    node: str
    op_type: str
    text: str


@dataclass
class Report:
    """What one pass changed, what it declined and why, and what else is worth knowing.

    `changed` is what the pass claims; debug runs compare graph hashes and catch a pass that lies.
    """

    name: str
    changed: list[Entry] = field(default_factory=list[Entry])
    declined: list[Entry] = field(default_factory=list[Entry])
    notes: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    nodes_before: int = 0
    nodes_after: int = 0
