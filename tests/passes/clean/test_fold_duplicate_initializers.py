import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from npuopt.passes.clean.fold_duplicate_initializers import FoldDuplicateInitializers
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_equal_weights_become_the_first():
    report = assert_rewrites(
        FoldDuplicateInitializers(),
        """(float[N, 2] x) => (float[N, 2] y) <float[2] v = {1, 2}, float[2] w = {1, 2}, float[2] u = {1, 3}> {
            a = Add(x, v) b = Mul(a, w) y = Sub(b, u)
        }""",
        """(float[N, 2] x) => (float[N, 2] y) <float[2] v = {1, 2}, float[2] u = {1, 3}> {
            a = Add(x, v) b = Mul(a, v) y = Sub(b, u)
        }""",
    )
    assert [(entry.node, entry.text) for entry in report.changed] == [("w", "equals v")]


@pytest.mark.parametrize(
    "weights",
    [
        "float[2] v = {1, 2}, float[2] w = {2, 1}",
        "float[2] v = {0, 1}, float[2] w = {-0.0, 1}",
        "float[2] v = {1, 2}, float[1, 2] w = {1, 2}",
    ],
)
def test_what_differs_in_a_bit_or_in_shape_stays(weights):
    text = f"(float[1, 2] x) => (float[1, 2] y) <{weights}> {{a = Add(x, v) y = Mul(a, w)}}"
    assert_leaves(FoldDuplicateInitializers(), text, because=None)


def test_bits_of_another_type_are_no_equal():
    text = """(float[2] x) => (float[2] y, int32[2] z) <float[2] v = {0, 0}, int32[2] w = {0, 0}> {
        y = Add(x, v) z = Neg(w)
    }"""
    assert_leaves(FoldDuplicateInitializers(), text, because=None)


def test_defaults_of_inputs_and_graph_outputs_stay():
    text = """(float[2] x, float[2] v) => (float[2] y, float[2] o) <float[2] v = {1, 2}, float[2] w = {1, 2},
        float[2] o = {1, 2}> {a = Add(x, v) y = Mul(a, w)}"""
    assert_leaves(FoldDuplicateInitializers(), text, because=None)


def model_with(*arrays: np.ndarray) -> ir.Model:
    sums = " ".join(f"a{i + 1} = Add(a{i}, w{i})" for i in range(len(arrays)))
    kind = ir.DataType.from_numpy(arrays[0].dtype).name.lower()
    shape = ",".join(map(str, arrays[0].shape))
    inputs = ", ".join(f"{kind}[{shape}] w{i}" for i in range(len(arrays)))
    model = model_from(f"({kind}[{shape}] a0, {inputs}) => ({kind}[{shape}] a{len(arrays)}) {{{sums}}}")
    for value, array in zip(model.graph.inputs[1:], arrays, strict=True):
        value.const_value = ir.tensor(array, name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def test_a_difference_outside_the_sample_is_seen():
    big = np.arange(100_000, dtype=np.float32)
    other = big.copy()
    other[12_345] += 1
    model = model_with(big, other, big.copy())
    report = assert_rewrites(FoldDuplicateInitializers(), model, None, seeds=(0,))
    assert [(entry.node, entry.text) for entry in report.changed] == [("w2", "equals w0")]


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, ml_dtypes.int4, np.bool_, np.int64])
def test_every_type_can_be_compared(dtype):
    model = model_with(np.ones((2, 3), dtype), np.ones((2, 3), dtype), np.zeros((2, 3), dtype))
    assert len(FoldDuplicateInitializers()(model).changed) == 1


def test_weights_without_a_twin_in_type_and_shape_are_not_read():
    class Unreadable(ir.Tensor):
        def numpy(self):
            raise AssertionError("read")

    model = model_with(np.ones(3, np.float32), np.ones(3, np.float32))
    lone = ir.Value(name="lone", const_value=Unreadable(np.ones((7, 7), np.float32), name="lone"))
    lone.shape, lone.type = ir.Shape((7, 7)), ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(lone)
    assert len(FoldDuplicateInitializers()(model).changed) == 1


def test_branches_are_looked_at_one_by_one():
    text = """(bool c, float[2] x) => (float[2] y) <float[2] u = {1, 2}> {
        a = Add(x, u)
        y = If(c) <then_branch = t () => (float[2] p) <float[2] v = {1, 2}, float[2] w = {1, 2}> {
            b = Add(a, v) p = Mul(b, w)
        }, else_branch = e () => (float[2] q) {q = Neg(a)}>
    }"""
    after = text.replace(", float[2] w = {1, 2}", "").replace("Mul(b, w)", "Mul(b, v)")
    assert_rewrites(FoldDuplicateInitializers(), text, after)


def test_whatever_surrounds_equal_weights_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        weight = np.array([1, np.nan, around.choose(0.0, 1.0, np.inf)], np.float32)
        first, second = around.constant(weight), around.constant(weight.copy())
        around.op("Mul", around.op("Add", around.input(2, 3), first), second)

    check_surroundings(FoldDuplicateInitializers(), build, tolerance=0)
