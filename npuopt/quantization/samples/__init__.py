"""Calibration data: where samples come from and how they are read."""
