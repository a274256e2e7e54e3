from pathlib import Path

import pytest

import npuopt
from npuopt.target import list_targets, load_target
from npuopt.target.describe import describe, sentence
from npuopt.target.documentation import page
from npuopt.target.json_schema import json_schema_text
from support.descriptors import target_with


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{rank: input 0, min: 2, max: 5}", "rank of input 0 is at least 2 and at most 5"),
        ("{attribute: mode, one_of: [nearest, linear]}", "attribute mode is one of nearest, linear"),
        ("{attribute: pads, at: 0, equal: 0}", "item 0 of attribute pads is 0"),
        ("{value: input 3, equal: [1, 1]}", "the value of input 3 is [1, 1]"),
        ("{dimension: input 0, axis: -1, multiple_of: 4}", "dimension -1 of input 0 is a multiple of 4"),
        ("{dimension: input 0, max: 4}", "dimension of input 0 is at most 4"),
        ("{product: attribute kernel_shape, max: 64}", "the product of attribute kernel_shape is at most 64"),
        ("{product: input 0, axes: [2, 3], max: 64}", "the product of dimensions [2, 3] of input 0 is at most 64"),
        ("{count: inputs, max: 4}", "the number of inputs is at most 4"),
        ("{axis_from_end: axis, equal: -1}", "attribute axis counted from the end is -1"),
        ("{dtype: input 0, one_of: [int8]}", "type of input 0 is one of int8"),
        ("{static: input 0}", "every dimension of input 0 is known"),
        ("{constant: input 1}", "input 1 is constant"),
        ("{variable: input 1}", "input 1 is not constant"),
        ("{present: input 1}", "input 1 is given"),
        ("{absent: output 1}", "output 1 is left out"),
        (
            "{predicate: padding-is-symmetric}",
            "The attribute pads has the same number before and after, on every axis",
        ),
        (
            "{constant: input 1, schemes: [a8w8], if: {rank: input 0, max: 2}, because: so it is}",
            "input 1 is constant, in a8w8, if rank of input 0 is at most 2 (so it is)",
        ),
    ],
)
def test_sentences(condition, expected):
    target = target_with(f"{{Conv: {{schemes: [fp16], when: [{condition}]}}}}")
    assert sentence(target.ops["Conv"].when[0]) == expected


def test_a_target_as_data():
    facts = describe(target_with("{Relu: {schemes: [fp16], rank: [1, 5]}, Erf: {refused: never}}"))
    assert facts["name"] == "toy/chip"
    assert facts["schemes"]["a8w8"]["weight"] == "int8"
    refused, relu = facts["ops"]
    assert (refused["name"], refused["taken"], refused["refused"]) == ("Erf", False, "never")
    assert (relu["schemes"], relu["conditions"], relu["source"]) == (
        ["fp16"],
        ["rank of input 0 is 1 to 5"],
        "invented",
    )


def test_a_page_says_what_is_taken_and_what_is_not():
    text = page(target_with("{Relu: {schemes: [fp16], rank: [1, 5]}, Erf: {refused: never | ever}}"))
    assert "| Relu | fp16 |  | rank of input 0 is 1 to 5 |  | [1] |" in text
    assert "| Erf | never \\| ever | [1] |" in text
    assert "| a8w8 | uint8 | int8 | one for each channel | int32 | [1] |" in text
    assert text.endswith("## Sources\n1. invented\n")


DOCS = Path(npuopt.__file__).parents[1] / "docs"
COMMAND = "run python -m npuopt.target.documentation docs"


def test_the_published_json_schema_is_fresh():
    assert (DOCS / "target.schema.json").read_text() == json_schema_text(), COMMAND


@pytest.mark.parametrize("name", list_targets())
def test_every_target_has_a_fresh_page(name):
    assert (DOCS / "targets" / f"{name}.md").read_text() == page(load_target(name)), COMMAND
