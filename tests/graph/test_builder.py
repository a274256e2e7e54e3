import numpy as np
import pytest

from npuopt.graph import Builder, DataType, Editor, constant
from support.rewrites import model_from

TEXT = "(float16[N, 4] x) => (float16[N, 4] y) {y = Relu(x)}"


def build_in(text=TEXT):
    model = model_from(text)
    node = model.graph[0]
    return model, node, Builder(Editor(model), node)


def test_numbers_become_constants_of_the_first_inputs_type():
    model, node, build = build_in()
    value = build("Add", build("Mul", node.inputs[0], 0.5), 1)
    assert [item.op_type for item in model.graph] == ["Mul", "Add", "Relu"]
    assert build.emitted == ["Mul", "Add"]
    assert value.dtype == DataType.FLOAT16
    assert constant(model.graph[0].inputs[1]).dtype == np.float16


def test_equal_numbers_are_one_constant_and_zeros_of_two_signs_are_two():
    model, _, build = build_in()
    assert build.number(2) is build.number(2.0)
    assert np.signbit(constant(build.number(-0.0)))
    assert not np.signbit(constant(build.number(0.0)))
    assert len(model.graph.initializers) == 3


def test_what_is_left_out_at_the_end_is_no_input():
    _, node, build = build_in()
    value = build("Clip", node.inputs[0], None, 6.0)
    assert [item is None for item in value.producer().inputs] == [False, True, False]
    assert len(build("Clip", node.inputs[0], None, None).producer().inputs) == 1


def test_integers_are_a_vector_whatever_the_type():
    _, node, build = build_in()
    assert constant(build.integers(0, -1)).tolist() == [0, -1]
    first, second = build.many("Split", 2, node.inputs[0], build.integers(1, 3), axis=-1)
    assert (first.shape[1], second.shape[1]) == (1, 3)


def test_numbers_need_a_type():
    _, _, build = build_in("""<ir_version: 12, opset_import: ["" : 24, "mine" : 1]>
        g (float[2] x) => (float[2] y) {u = mine.Odd(x) v = mine.Odd(u) y = Neg(v)}""")
    build.type = None
    with pytest.raises(ValueError, match="type of the first input is not known"):
        build.number(1.0)
    with pytest.raises(ValueError, match="type of the first input is not known"):
        build.array(np.zeros(2))
