"""Model files: see `loading` and `saving`."""

from npuopt.graph.headers import to_proto
from npuopt.graph.loading import load
from npuopt.graph.saving import save

__all__ = ["load", "save", "to_proto"]
