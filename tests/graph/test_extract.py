"""Cutting a part out of a model by the names of its tensors."""

import numpy as np
import onnx
import pytest

from npuopt.errors import UsageError
from npuopt.graph import Model, Session, extract, parse, to_proto

HEADER = '<ir_version: 12, opset_import: ["" : 24]>\n'
TEXT = """g (float[2,3] x, float[2,3] z, bool c) => (float[2,3] y, float[2,3] other) <float[3] w = {1, 2, 3}> {
    a = Neg(x)  b = Mul(a, w)  d = Add(b, z)
    y = If(c) <then_branch = t () => (float[2,3] p) { p = Exp(d) },
               else_branch = e () => (float[2,3] q) { q = Sub(d, a) }>
    other = Abs(z)
}"""
X, Z = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[1, 0, 1], [0, 1, 0]])


def cut(inputs=(), outputs=()) -> Model:
    part = extract(parse(HEADER + TEXT), inputs, outputs)
    onnx.checker.check_model(to_proto(part), full_check=True)
    return part


def interface(part: Model) -> tuple[list[str], list[str]]:
    return [value.name for value in part.graph.inputs], [value.name for value in part.graph.outputs]


def test_between_two_tensors():
    part = cut(["a"], ["b"])
    assert interface(part) == (["a"], ["b"])
    assert [node.op_type for node in part.graph] == ["Mul"]
    np.testing.assert_array_equal(Session(part).run({"a": X})["b"], X * np.float32([1, 2, 3]))


def test_from_the_graph_inputs_only_those_that_are_needed():
    assert interface(cut(outputs=["d"])) == (["x", "z"], ["d"])
    assert interface(cut(outputs=["other"])) == (["z"], ["other"])


def test_to_all_graph_outputs():
    part = cut(["d", "a", "z", "c"])
    assert interface(part) == (["d", "a", "z", "c"], ["y", "other"])
    outputs = Session(part).run({"d": X, "a": Z, "z": Z, "c": np.array(False)})
    np.testing.assert_array_equal(outputs["y"], X - Z)


def test_the_source_stays_as_it_was():
    model = parse(HEADER + TEXT)
    part = extract(model, ["a"], ["b"])
    part.graph.inputs[0].name = "renamed"
    assert interface(model) == (["x", "z", "c"], ["y", "other"])
    assert len(list(model.graph)) == 5


@pytest.mark.parametrize(
    ("inputs", "outputs", "why"),
    [
        (["aa"], ["b"], "there is no tensor called 'aa' in the main graph"),
        ([], ["othr"], "did you mean other"),
        (["b"], ["d"], "the outputs also need the input 'z'"),
        (["z", "x"], ["other"], "no output needs the tensor 'x'"),
        (["d"], ["b"], "the outputs also need the input 'x'"),
    ],
)
def test_names_that_do_not_fit(inputs, outputs, why):
    with pytest.raises(UsageError, match=why):
        cut(inputs, outputs)
