"""The same model has the same fingerprint, whatever its names; anything that computes otherwise has another."""

import numpy as np
import onnx_ir as ir
import pytest

from npuopt.graph import Editor, Model, fingerprint, infer_shapes, load, nodes, parse, save

HEADER = '<ir_version: 12, opset_import: ["" : 24]>\n'
BASE = """g (float[2,3] x, bool c) => (float[2,3] y) <float[3] w = {1, 2, 3}> {
    a = Neg(x)  b = Abs(x)  d = Sub(a, b)  e = Add(d, w)
    y = If(c) <then_branch = t () => (float[2,3] p) { p = Mul(e, a) },
               else_branch = f () => (float[2,3] q) { q = LeakyRelu<alpha = 0.1>(b) }>
}"""


def of(text: str) -> str:
    return fingerprint(parse(HEADER + text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("d = Sub(a, b)  e = Add(d, w)", "inner = Sub(a, b)  e = Add(inner, w)"),
        ("a = Neg(x)  b = Abs(x)", "b = Abs(x)  [named] a = Neg(x)"),
        ("float[3] w = {1, 2, 3}", "float[3] w = {1, 2, 3}, float[2,3] a"),
        ("(float[2,3] p) { p = Mul(e, a) }", "(float[2,3] product) { product = Mul(e, a) }"),
    ],
)
def test_names_order_and_notes_do_not_count(old, new):
    assert of(BASE) == of(BASE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Neg(x)", "Exp(x)"),
        ("Sub(a, b)", "Sub(b, a)"),
        ("{1, 2, 3}", "{1, 2, 4}"),
        ("float[3] w", "float[1,3] w"),
        ("Mul(e, a)", "Mul(e, b)"),
        ("alpha = 0.1", "alpha = 0.2"),
        ("a = Neg(x)", "a = Neg(x)  dead = Neg(a)"),
        ("a = Neg(x)", "a = Neg(x)  twin = Neg(x)"),
        ("<float[3] w", "<float[3] unused = {7, 8, 9}, float[3] w"),
        ("(float[2,3] x, bool c)", "(float[N,3] x, bool c)"),
        ("(float[2,3] x, bool c)", "(bool c, float[2,3] x)"),
        ("=> (float[2,3] y)", "=> (float[2,3] y, float[2,3] a)"),
    ],
)
def test_anything_else_counts(old, new):
    assert old in BASE
    assert of(BASE) != of(BASE.replace(old, new))


def test_the_opset_counts():
    assert fingerprint(parse(HEADER + BASE)) != fingerprint(parse(HEADER.replace("24", "23") + BASE))


def model_with_weight(array: np.ndarray) -> Model:
    model = parse(HEADER + "g (float[2,64] x) => (float[2,64] y) { y = MatMul(x, w) }")
    weight = next(iter(model.graph)).inputs[1]
    weight.const_value = ir.tensor(array)
    weight.shape, weight.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(weight)
    infer_shapes(model)
    return model


def test_weights_count_with_their_bytes(tmp_path):
    array = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model = model_with_weight(array)
    save(model, tmp_path / "m.onnx")
    assert fingerprint(load(tmp_path / "m.onnx")) == fingerprint(model)
    array = array.copy()
    array[-1, -1] += 1
    assert fingerprint(model_with_weight(array)) != fingerprint(model)


def test_without_contents_no_weight_is_read():
    lazy = ir.LazyTensor(lambda: pytest.fail("read"), ir.DataType.FLOAT, ir.Shape([64, 64]), name="w")
    model = model_with_weight(np.zeros((64, 64), np.float32))
    weight = model.graph.initializers["w"]
    weight.const_value = lazy
    before = fingerprint(model, contents=False)
    assert fingerprint(model, contents=False) == before
    matmul = nodes(model, "MatMul")[0]
    edit = Editor(model)
    edit.replace(matmul.outputs[0], edit.emit("MatMul", list(matmul.inputs), before=matmul))
    edit.erase(matmul)
    assert fingerprint(model, contents=False) == before  # the same node under another name
    weight.const_value = ir.tensor(np.zeros((64, 64), np.float32))
    assert fingerprint(model, contents=False) != before
