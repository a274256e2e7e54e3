"""npuopt: a compiler-style graph optimizer for NPU targets."""

__version__ = "0.1.0"
