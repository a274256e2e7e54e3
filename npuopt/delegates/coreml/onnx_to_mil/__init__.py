# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""From ONNX to Apple's MIL: a table from op type to a function that emits MIL operations. Imports no npuopt.

Runs in the toolchain's environment (coremltools, numpy). One module a family of ops; importing it fills the table.
"""
