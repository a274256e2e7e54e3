"""What the package carries for each toolchain."""

from __future__ import annotations

import ast
import re

import pytest

from npuopt.errors import UsageError
from npuopt.toolchain import Definition, definitions, find_definition

HASHED = re.compile(r"(\S+==\S+)( ; [^\\]+?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)")


@pytest.fixture(params=definitions().values(), ids=lambda definition: definition.name)
def definition(request) -> Definition:
    return request.param


def test_every_line_of_a_list_is_a_pin_with_hashes_and_no_address(definition):
    text = definition.requirements.read_text()
    assert HASHED.sub("", text) == ""
    pinned = {match[1].split("==")[0] for match in HASHED.finditer(text)}
    assert set(definition.packages) <= pinned


def test_a_doctor_imports_nothing_of_npuopt(definition):
    tree = ast.parse(definition.doctor.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.split(".")[0] == "npuopt"]


def test_what_is_proprietary_has_terms_to_show(definition):
    assert bool(definition.terms) == definition.proprietary


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"there is no toolchain 'vella'; known toolchains: .*vela"):
        find_definition("vella")
