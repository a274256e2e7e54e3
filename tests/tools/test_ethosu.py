"""The rules of Ethos-U descriptors, written from Vela's own report."""

from __future__ import annotations

import sys

import pytest

from support.toolchains import needs_toolchain
from tools.ethosu import __main__ as generator
from tools.ethosu.report import read_report

REPORT = """
Vela version: `9.9`

## Ethos-U85 TFLite Summary Table
| Operator | TFLite Constraints |
| --- | --- |
| MAX_POOL_2D | [Generic](#g), [Specific](#s) |
| PADV2 | [Generic](#g) |

## Ethos-U85 TFLite Generic Constraints
- Tensors must have constant shape.

### Ethos-U85 TFLite MAX_POOL_2D Constraints
- kernel product must be less than or equal to 256*256 and kernel height must be less than or equal to 256.
- IF a:
  - b
"""


def test_a_report_is_read_with_nested_constraints_joined():
    report = read_report(REPORT, "Ethos-U85")
    assert report.version == "9.9"
    assert report.generic == ("Tensors must have constant shape.",)
    assert report.operators["MAX_POOL_2D"][1] == "IF a:; b"
    assert report.operators["PADV2"] == ()


def test_a_constraint_that_nobody_has_given_a_meaning_stops_the_generator():
    with pytest.raises(ValueError, match="does not know: IF a:; b"):
        generator.descriptor(read_report(REPORT, "Ethos-U85"), "Ethos-U85")


def test_rules_hold_the_conditions_of_the_constraints_that_are_there():
    text = generator.descriptor(read_report(REPORT.replace("- IF a:\n  - b\n", ""), "Ethos-U85"), "Ethos-U85")
    assert "MaxPool:" in text
    assert "{attribute: kernel_shape, at: 0, max: 256}" in text
    assert "strides" not in text  # the constraint that asks for slow steps is not there
    assert "Conv:" not in text  # its operators are not there


def test_another_form_of_report_is_refused():
    with pytest.raises(ValueError, match="says nothing of Ethos-U55"):
        read_report(REPORT, "Ethos-U55 and Ethos-U65")


@pytest.mark.toolchain
def test_the_descriptors_are_what_the_installed_vela_says(monkeypatch, capsys):
    needs_toolchain("vela")
    monkeypatch.setattr(sys, "argv", ["ethosu", "--check"])
    assert generator.main() == 0, capsys.readouterr().err


def test_16_bits_are_for_what_the_exporter_writes_and_no_constraint_forbids():
    assert generator.schemes("Softmax", ["IFM and OFM datatypes must match, and must be Int8 or Int16"])[-1] == "a16w8"
    assert generator.schemes("Gelu", ["IFM and OFM datatypes must match, and must be Int8 or UInt8"]) == ("a8w8",)
    assert generator.schemes("MatMul", ["IF Matmul: IFM precision must be Int8"])[-1] == "a16w8"
    assert generator.schemes("PRelu", []) == ("a8w8",)  # TFLite has no form of it
    assert generator.schemes("Exp", ["IFM and OFM datatypes must match, and must be Int8 or Int16"]) == ("a8w8",)
