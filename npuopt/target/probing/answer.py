"""What a vendor's compiler says to a question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One verdict of a vendor's compiler.

    Attributes:
        taken: the node runs on the NPU, is computed as asked, and its numbers are right.
        reason: why not, in the vendor's words where it has any.
        compared: its numbers were compared with a reference.
        error: largest difference from the reference, as a fraction of the reference's largest magnitude.
    """

    taken: bool
    reason: str = ""
    compared: bool = False
    error: float = 0.0
