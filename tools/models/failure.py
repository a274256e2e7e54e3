"""How making a model fails."""

from __future__ import annotations


class ModelError(Exception):
    """A model could not be fetched or made; the message is for the user."""


def last_lines(text: str, count: int = 4) -> str:
    """Return the last lines of a tool's output that say anything, on one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-count:]) or "it said nothing"
