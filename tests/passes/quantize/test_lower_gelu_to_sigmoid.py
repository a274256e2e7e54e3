import numpy as np
import pytest

from npuopt.graph.execution import Session
from npuopt.passes.quantize.lower_gelu_to_sigmoid import LowerGeluToSigmoid
from npuopt.target import parse_target
from support.integer_chip import HEAD
from support.rewrites import assert_leaves, assert_rewrites, model_from

TEXT = '(float[N] x) => (float[N] y) {y = Gelu<approximate = "%s">(x)}'


@pytest.mark.parametrize(
    ("form", "slope", "third"), [("none", 1.60031416, 0.06940179), ("tanh", 1.59576912, 0.07135482)]
)
def test_becomes_products_and_a_sigmoid(form, slope, third):
    assert_rewrites(
        LowerGeluToSigmoid(["y"]),
        TEXT % form,
        f"""(float[N] x) => (float[N] y) <float most = {{16}}, float third = {{{third}}}, float slope = {{{slope}}}>
        {{s = Mul(x, x) c = Clip(s, , most) t = Mul(c, third) f = Add(t, slope)
        o = Mul(x, f) g = Sigmoid(o) y = Mul(x, g)}}""",
        tolerance=5e-3,
    )


@pytest.mark.parametrize(("form", "most"), [("none", 2.8e-4), ("tanh", 1.9e-5)])
def test_errors_are_below_what_is_said(form, most):
    x = np.linspace(-20, 20, 40001, dtype=np.float32)
    model = model_from(TEXT % form)
    expected = Session(model).run({"x": x})["y"]
    LowerGeluToSigmoid(["y"])(model)
    assert np.abs(Session(model).run({"x": x})["y"] - expected).max() < most


def test_leaves_what_is_not_named_and_other_ops():
    assert not LowerGeluToSigmoid(["z"])(model_from(TEXT % "none")).changed
    assert_leaves(LowerGeluToSigmoid(["y"]), "(float[N] x) => (float[N] y) {y = Tanh(x)}", because="no Gelu")


def test_left_alone_where_the_target_does_not_take_the_parts():
    head = HEAD.replace("activation: float16", "activation: float16, tensors: [float32]")
    chip = parse_target(head + "\n".join(f"  {name}: {{schemes: [a16w8, fp16]}}" for name in ("Add", "Clip", "Mul")))
    text = (TEXT % "none").replace("N", "4")
    assert_leaves(LowerGeluToSigmoid(["y"]), text, because="the Sigmoid would be refused", target=chip)
