"""The descriptor of a made-up chip that convolves in float32, and nothing else."""

CONVOLVING_CHIP = """
name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
schemes:
  fp32: {activation: float32}
ops:
  Conv: {schemes: [fp32]}
"""
