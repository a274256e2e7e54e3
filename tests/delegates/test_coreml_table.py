"""The descriptor and the translator say the same: every op that is taken has an emitter."""

from __future__ import annotations

import ast

import pytest

from npuopt.target import load_target
from support.paths import ROOT

FOLDER = ROOT / "npuopt" / "delegates" / "coreml" / "onnx_to_mil"


def emitters() -> set[str]:
    """Read the table from the source: it needs coremltools to be imported."""
    found: set[str] = set()
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "emits":
                found |= {argument.value for argument in node.args}
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("BINARY", "UNARY", "VARIADIC"):
                found |= {key.value for key in node.value.keys}
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "REDUCTIONS":
                found |= {key.value for key in node.value.keys}
            if isinstance(node, ast.AugAssign) and getattr(node.target, "id", "") == "EMITTERS":
                found |= {key.value for key in getattr(node.value, "keys", [])}
    return found


@pytest.mark.parametrize("target", ["apple/ane-ios17", "apple/ane-ios18", "apple/ane-ios18-palettes"])
def test_every_op_that_is_taken_has_an_emitter(target):
    taken = {name for name, rule in load_target(target).ops.items() if rule.refused is None}
    assert taken <= emitters()


def test_the_translator_imports_nothing_of_npuopt():
    for path in (*FOLDER.glob("*.py"), FOLDER.parent / "worker.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "npuopt"], path.name
