"""Running what was compiled."""

from npuopt.runtime.artifact import Artifact, Engine

__all__ = ["Artifact", "Engine"]
