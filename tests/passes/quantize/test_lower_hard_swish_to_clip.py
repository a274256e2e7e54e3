import numpy as np

from npuopt.graph.execution import Session
from npuopt.passes.quantize.lower_hard_swish_to_clip import LowerHardSwishToClip
from npuopt.target import parse_target
from support.integer_chip import HEAD
from support.rewrites import assert_leaves, assert_rewrites, model_from

TEXT = "(float[N] x) => (float[N] y) {y = HardSwish(x)}"


def test_becomes_a_sum_a_clip_and_products():
    assert_rewrites(
        LowerHardSwishToClip(["y"]),
        TEXT,
        """(float[N] x) => (float[N] y)
        <float three = {3}, float none = {0}, float six = {6}, float sixth = {0.16666667}>
        {s = Add(x, three) c = Clip(s, none, six) h = Mul(c, sixth) y = Mul(x, h)}""",
    )


def test_numbers_are_those_of_hard_swish():
    x = np.linspace(-20, 20, 4001, dtype=np.float32)
    model = model_from(TEXT)
    LowerHardSwishToClip(["y"])(model)
    np.testing.assert_allclose(Session(model).run({"x": x})["y"], x * np.clip(x / 6 + 0.5, 0, 1), rtol=1e-6, atol=2e-6)


def test_leaves_what_is_not_named_and_other_ops():
    assert not LowerHardSwishToClip(["z"])(model_from(TEXT)).changed
    assert_leaves(LowerHardSwishToClip(["y"]), "(float[N] x) => (float[N] y) {y = Tanh(x)}", because="no HardSwish")


def test_left_alone_where_the_target_does_not_take_the_parts():
    head = HEAD.replace("activation: float16", "activation: float16, tensors: [float32]")
    chip = parse_target(head + "\n".join(f"  {name}: {{schemes: [a16w8, fp16]}}" for name in ("Add", "Mul")))
    because = "the Clip would be refused"
    assert_leaves(LowerHardSwishToClip(["y"]), TEXT.replace("N", "4"), because=because, target=chip)
