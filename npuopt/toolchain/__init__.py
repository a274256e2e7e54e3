"""Vendor tools whose pins clash: each in an isolated environment, made from a pinned and hashed list."""

from npuopt.toolchain.definition import Definition, definitions, find_definition
from npuopt.toolchain.environment import Environment, environment

__all__ = ["Definition", "Environment", "definitions", "environment", "find_definition"]
