"""Rockchip: RKNN-Toolkit2 builds a region for the NPU and simulates it."""
