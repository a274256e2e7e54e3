"""Text for people and dumps: parsed, printed without weights, compared."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from npuopt.errors import InputError
from npuopt.graph import check, diff, header_proto, infer_shapes, parse, to_proto, to_text

HEADER = '<ir_version: 12, opset_import: ["" : 24]>\n'
TEXT = """g (float[2,3] x, bool c) => (float[2,3] y) <float[3] w = {1, 2.5, 3}> {
    t = Add(x, w)
    y = If(c) <then_branch = a () => (float[2,3] p) <float[2,3] k = {1, 2, 3, 4, 5, 6}> { p = Mul(t, k) },
               else_branch = b () => (float[2,3] q) { q = Neg(t) }>
}"""


def with_weight(elements: int) -> ir.Model:
    """A model whose weight fails the test when it is read."""
    model = parse(HEADER + "g (float[2,N] x) => (float[2,N] y) { y = Mul(x, w) }")
    weight = next(iter(model.graph)).inputs[1]
    shape = ir.Shape([elements])
    weight.const_value = ir.LazyTensor(lambda: pytest.fail("a weight was read"), ir.DataType.FLOAT, shape, name="w")
    model.graph.register_initializer(weight)  # without a type or shape of its own
    return model


def test_small_values_are_printed_and_large_ones_declared():
    text = to_text(parse(HEADER + TEXT), values_up_to=3)
    assert "float[3] w =  {1,2.5,3}" in text
    assert "float[2,3] k" in text
    assert "k =" not in text
    assert text.count("float[3] w") == 1  # the value, and no declaration besides
    assert "float[5000] w" in to_text(with_weight(5000))


def test_what_is_printed_whole_can_be_parsed_again():
    text = to_text(parse(HEADER + TEXT))
    again = parse(text)
    assert to_text(again) == text
    onnx.checker.check_model(to_proto(again), full_check=True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("nonsense", "text: [ParseError at position (line: 1 column: 9)] Error context: nonsense"),
        (HEADER + "g (float[2] x) => (float[2] y) { y = Relu(x }", "line: 2"),
    ],
)
def test_what_cannot_be_parsed_says_where(text, where):
    with pytest.raises(InputError, match="not ONNX text") as caught:
        parse(text)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_diff_is_empty_for_the_same_text():
    assert diff("a\nb", "a\nb") == ""
    assert diff("a\nb\nc", "a\nd\nc").splitlines() == [
        "--- before",
        "+++ after",
        "@@ -1,3 +1,3 @@",
        " a",
        "-b",
        "+d",
        " c",
    ]


def test_a_header_has_large_initializers_as_inputs():
    model = with_weight(5000)
    header = header_proto(model)
    assert [info.name for info in header.graph.input] == ["x", "w"]
    assert not header.graph.initializer
    check(model)
    infer_shapes(model)


def test_a_header_of_a_subgraph_declares_outside_what_it_leaves_out():
    model = parse(HEADER + TEXT)
    header = header_proto(model, keep=3)
    assert [info.name for info in header.graph.input] == ["x", "c", "k"]
    onnx.checker.check_model(header, full_check=True)
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), np.float32([1, 2.5, 3]))


def test_check_takes_outputs_of_unknown_rank():
    proto = onnx.parser.parse_model(HEADER + TEXT)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(onnx.checker.ValidationError, match="shape"):
        onnx.checker.check_model(proto)
    check(ir.from_proto(proto))
