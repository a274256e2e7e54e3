"""Looks at a model's tensors while samples run through it, and keeps what encodings need."""
