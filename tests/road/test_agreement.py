"""Outputs that agree badly are named; layers between are not outputs."""

from pathlib import Path

import pytest

from npuopt.bundle import Stage
from npuopt.bundle.manifest import OutputComparison
from npuopt.errors import AccuracyError
from npuopt.road.agreement import advice, disagreements, require_agreement


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


def test_what_quantization_moves_too_far_comes_with_advice():
    (text,) = advice([compared(1.0, name="optimized"), compared(0.7, name="quantized")])
    assert "`npuopt sensitivity`" in text
    assert "--max-drop" in text


def test_what_the_chip_computes_otherwise_does_not():
    assert advice([compared(0.999, name="quantized"), compared(0.5, None)]) == []
