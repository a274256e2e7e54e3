"""Outputs that agree badly are named; layers between are not outputs."""

from pathlib import Path

import pytest

from npuopt.bundle import Stage
from npuopt.bundle.manifest import OutputComparison
from npuopt.errors import AccuracyError
from npuopt.road.agreement import advice, disagreements, require_agreement
from npuopt.target import Target
from npuopt.target.schema import Descriptor


def compared(*cosines: float | None, inner: bool = False, name: str = "compiled") -> Stage:
    outputs = {
        f"y{index}": OutputComparison(cosine=cosine, sqnr_db=None, max_abs=None, elements=1)
        for index, cosine in enumerate(cosines)
    }
    return Stage(name=name, against="model.onnx", samples=1, outputs=outputs, inner=inner)


def test_outputs_below_the_bound_and_those_that_are_no_numbers():
    assert disagreements([compared(0.999, 0.5, None)]) == [
        "y1, compiled against model.onnx: cosine 0.5",
        "y2, compiled against model.onnx: cosine is not a number",
    ]


def test_layers_between_are_not_outputs():
    assert disagreements([compared(0.1, inner=True)]) == []


def test_nothing_is_required_where_nothing_is_asked_for():
    require_agreement([compared(0.1)], 0.0, Path("m.onnx"))
    with pytest.raises(AccuracyError, match=r"m\.onnx: y0, compiled against model\.onnx: cosine 0\.1, below the 0\.2"):
        require_agreement([compared(0.1)], 0.2, Path("m.onnx"))


HALVES = {
    "a8w8": {"activation": "uint8", "weight": "int8"},
    "fp16": {"activation": "float16", "tensors": ("float32", "float16")},
}
WIDE = {"a16w8": {"activation": "uint16", "weight": "int8"}}


def chip(**schemes: dict[str, object]) -> Target:
    facts = {"name": "toy/chip", "title": "A chip", "source": "invented", "delegate": {"road": "ort"}}
    ops = {"Relu": {"schemes": ("a8w8",)}}
    return Target(Descriptor.model_validate({**facts, "schemes": schemes, "ops": ops}))


def quantized(*decibels: float | None) -> Stage:
    outputs = {
        f"y{index}": OutputComparison(cosine=None, sqnr_db=one, max_abs=None, elements=1)
        for index, one in enumerate(decibels)
    }
    return Stage(name="quantized", against="source", samples=1, outputs=outputs)


@pytest.mark.parametrize(
    ("schemes", "words"),
    [
        (HALVES, "add `--max-drop sqnr=30` to compute in fp16 what costs most in a8w8"),
        (HALVES | WIDE, "add `--max-drop sqnr=30` to compute in a16w8 what costs most in a8w8"),
        ({"a8w8": HALVES["a8w8"]}, "`npuopt sensitivity` ranks the layers"),
    ],
)
def test_what_quantization_moves_too_far_comes_with_the_next_command(schemes, words):
    (text,) = advice(quantized(45.0, 24.2, None), chip(**schemes), "a8w8", chosen=False)
    assert text.startswith("y1 is 24.2 dB from float in a8w8")
    assert words in text


def test_a_mix_that_was_chosen_is_not_to_be_chosen_again():
    (text,) = advice(quantized(24.2), chip(**HALVES), "a8w8", chosen=True)
    assert "`--keep`" in text


def test_what_is_close_enough_or_was_not_looked_at_needs_no_advice():
    assert advice(quantized(30.1, None), chip(**HALVES), "a8w8", chosen=False) == []
    assert advice(None, chip(**HALVES), "a8w8", chosen=False) == []
