"""The road from a model to an artifact, stretch by stretch, and what is measured beside it."""
