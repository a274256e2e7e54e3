from dataclasses import dataclass

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph.execution import Session
from npuopt.passes.quantize.split_products import SplitProducts, is_product
from npuopt.target import parse_target
from support.integer_chip import HEAD
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import check_surroundings

EIGHTHS = {"dtype": "uint8", "scale": 0.125, "zero_point": 128}
BEFORE = "(float[2,3] a, float[3,2] b) => (float[2,2] y) {y = MatMul(a, b)}"
HALVES = "float s = {0.125}, uint8 p = {128}"


def test_a_product_is_the_sum_of_those_with_the_high_bits_and_with_the_rest():
    report = assert_rewrites(
        SplitProducts({"y": EIGHTHS}),
        BEFORE,
        f"""(float[2,3] a, float[3,2] b) => (float[2,2] y) <{HALVES}>
        {{i = QuantizeLinear(b, s, p) h = DequantizeLinear(i, s, p) l = Sub(b, h)
        m = MatMul(a, h) n = MatMul(a, l) y = Add(m, n)}}""",
        tolerance=1e-5,
    )
    assert [entry.text for entry in report.changed] == ["high bits in uint8, 12 MACs more"]
    assert report.notes == ["12 MACs more"]


def test_the_rest_is_never_more_than_half_a_step_where_the_high_bits_reach():
    model = model_from(BEFORE)
    SplitProducts({"y": EIGHTHS})(model)
    model.graph.outputs.extend(node.outputs[0] for node in model.graph if node.op_type == "Sub")
    b = np.random.default_rng(0).uniform(-15, 15, (3, 2)).astype(np.float32)
    _, rest = Session(model).run({"a": np.ones((2, 3), np.float32), "b": b}).values()
    assert 0.01 < np.abs(rest).max() <= 0.0625


def test_products_that_read_one_tensor_share_its_parts():
    text = "(float[2,3] a, float[2,3] c, float[3,2] b) => (float[2,2] y, float[2,2] z) <{constants}> {{{nodes}}}"
    assert_rewrites(
        SplitProducts({"y": EIGHTHS, "z": EIGHTHS}),
        text.format(constants="", nodes="y = MatMul(a, b) z = MatMul(c, b)").replace("<>", ""),
        text.format(
            constants=HALVES,
            nodes="""i = QuantizeLinear(b, s, p) h = DequantizeLinear(i, s, p) l = Sub(b, h)
            m = MatMul(a, h) n = MatMul(a, l) y = Add(m, n) o = MatMul(c, h) q = MatMul(c, l) z = Add(o, q)""",
        ),
        tolerance=1e-5,
    )


@pytest.mark.parametrize(
    "text",
    [
        "(float[2,2] x) => (float[2,2] y) {y = Relu(x)}",
        "(float[2,2] x) => (float[2,2] y) <float[2,2] w = {1,2,3,4}> {y = MatMul(x, w)}",
    ],
)
def test_left_alone(text):
    assert_leaves(SplitProducts({"y": EIGHTHS}), text, because="no product of two run-time tensors")


@pytest.mark.parametrize("missing", ["Add", "Sub"])
def test_left_alone_where_the_target_does_not_take_the_parts(missing):
    head = HEAD.replace("activation: float16", "activation: float16, tensors: [float32]")
    taken = sorted({"Add", "MatMul", "Sub"} - {missing})
    chip = parse_target(head + "\n".join(f"  {name}: {{schemes: [a16w8, fp16]}}" for name in taken))
    because = f"the {missing} would be refused"
    assert_leaves(SplitProducts({"y": EIGHTHS}), BEFORE, because=because, target=chip)


@pytest.mark.parametrize(
    ("given", "because"),
    [
        ({"dtype": "uint8", "scale": 0, "zero_point": 0}, "is no encoding"),
        ({"dtype": "uint8", "scale": float("nan"), "zero_point": 0}, "is no encoding"),
        ({"dtype": "uint8", "scale": 1.0, "zero_point": 256}, "is no encoding"),
        ("eight bits", "is no encoding"),
        ({"dtype": "uint8", "scale": [1.0, 2.0], "zero_point": 0, "axis": 0}, "have one scale for all channels"),
    ],
)
def test_encodings_are_checked(given, because):
    with pytest.raises(InputError, match=because):
        SplitProducts({"y": given})(model_from(BEFORE))


@dataclass(frozen=True)
class SplitEverything(SplitProducts):
    """Splits whatever can be."""

    def __call__(self, model, target=None):
        return SplitProducts({n.outputs[0].name: EIGHTHS for n in model.graph if is_product(n)})(model, target)


def test_whatever_surrounds_a_product_keeps_its_numbers():
    def build(around):
        made = around.op("MatMul", around.input(2, 3), around.input(3, 2))
        around.op("Relu", made)

    check_surroundings(SplitEverything(), build, examples=40, least_hits=0.2)
