"""Moves factors of channels between layers, so that both hold them better."""
