"""Targets: what a chip and its compiler can take, as facts with sources, and questions about them."""

from npuopt.target.target import Target, Verdict

__all__ = ["Target", "Verdict"]
