"""What is said to be known of shapes must hold for every size that the named dims can have."""

from itertools import product

import numpy as np
import pytest

from npuopt.graph import nodes
from npuopt.graph.shape_elements import ELEMENTWISE
from npuopt.graph.shape_values import Known, known_result
from support.numbers import run
from support.rewrites import model_from

ELEMENTS = (None, "N", "M", -2, -1, 0, 1, 2)
SIZES = (0, 1, 2, 5)
NUMPY = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": lambda left, right: int(left / right),
    "Max": max,
    "Min": min,
    "Equal": np.equal,
    "Less": np.less,
    "Greater": np.greater,
    "LessOrEqual": np.less_equal,
    "GreaterOrEqual": np.greater_equal,
    "And": lambda left, right: bool(left and right),
    "Or": lambda left, right: bool(left or right),
    "Not": np.logical_not,
    "Neg": np.negative,
    "Abs": abs,
    "Where": lambda condition, left, right: left if condition else right,
}


@pytest.mark.parametrize("op_type", ELEMENTWISE)
def test_arithmetic_on_names_holds_for_every_size(op_type):
    count = {"Not": 1, "Neg": 1, "Abs": 1, "Where": 3}.get(op_type, 2)
    is_logic = op_type in ("Not", "And", "Or")
    known = 0
    for operands in product((None, 0, 1) if is_logic else ELEMENTS, repeat=count):
        if op_type == "Where" and operands[0] not in (None, 0, 1):
            continue
        result = ELEMENTWISE[op_type](*operands)
        known += result is not None
        for n, m, unknown in product(SIZES, SIZES, (0, 1) if is_logic else (-3, 0, 1)):
            sizes = {"N": n, "M": m, None: unknown}
            values = [sizes.get(item, item) for item in operands]
            if result is None or (op_type == "Div" and values[1] == 0):
                continue
            assert NUMPY[op_type](*values) == sizes.get(result, result), (operands, result, sizes)
    assert known >= 2


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("r = Shape(x)", ("N", 6, "M")),
        ("r = Shape<start = -2>(x)", (6, "M")),
        ("r = Shape<start = 1, end = -1>(x)", (6,)),
        ("s = Shape(x) r = Gather(s, picks)", ("M", "N")),
        ("s = Shape(x) r = Slice(s, one, far, zero, minus)", (6, "N")),
        ("s = Shape(x) r = Slice(s, minus, far)", ("M",)),
        ("s = Shape(x) r = Concat<axis = 0>(s, picks, given)", ("N", 6, "M", -1, 0, None)),
        ("s = Shape(x) t = Cast<to = 6>(s) r = Cast<to = 7>(t)", ("N", 6, "M")),
        ("r = ConstantOfShape<value = int64[1] {7}>(picked)", (7, 7)),
        ("r = Range(a, b, c)", (5, 3)),
        ("s = Shape<start = 1, end = 2>(x) r = Expand(s, picked)", (6, 6)),
    ],
)
def test_structure_is_followed(node, expected):
    text = f"""(float[N, 6, M] x, int64[1] given) => (int64[K] r) <int64[2] picks = {{-1, 0}}, int64[1] picked = {{2}},
        int64[1] one = {{1}}, int64[1] zero = {{0}}, int64[1] minus = {{-1}}, int64[1] far = {{-100}},
        int64 a = {{5}}, int64 b = {{1}}, int64 c = {{-2}}> {{{node}}}"""
    text = text.replace("far = {-100}", "far = {100}") if "minus, far" in node else text
    model = model_from(text)
    known = {}
    for item in nodes(model):
        result = known_result(item, known)
        assert result is not None, item.op_type
        known[item.outputs[0]] = result
    assert known[model.graph.outputs[0]].elements == expected
    feeds = {"x": np.zeros((3, 6, 4), np.float32), "given": np.array([9])}
    sizes = {"N": 3, "M": 4, None: 9}
    assert run(model, feeds)["r"].tolist() == [sizes.get(item, item) for item in expected]


def test_what_wraps_around_is_not_known():
    text = (
        "(float[2147483647] x) => (int32[1] r) <int32[1] two = {2}> {s = Shape(x) t = Cast<to = 6>(s) r = Mul(t, two)}"
    )
    model = model_from(text)
    shape, narrow, product_ = nodes(model)
    known = {shape.outputs[0]: Known((2**31 - 1,)), narrow.outputs[0]: Known((2**31 - 1,))}
    assert known_result(product_, known) is None
