"""Arm Ethos-U: a region becomes a TFLite model, and Vela compiles that for the NPU."""
