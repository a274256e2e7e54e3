"""Tuning: the quantized model learns from the float one, on data without labels. Importing this room imports torch."""
