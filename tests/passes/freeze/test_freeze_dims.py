import pytest

from npuopt.graph import Shape, dims, nodes
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.pipeline.recipe_file import Choice
from npuopt.pipeline.recipes import CLEAN
from npuopt.pipeline.runner import Runner
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

RELU = "(float[batch, 4, seq] x) => (float[batch, 4, seq] y) { y = Relu(x) }"


def test_named_dims_become_sizes_everywhere() -> None:
    assert_rewrites(
        FreezeDims((("batch", 1), ("seq", 8))),
        "(float[batch, seq] x) => (float[seq, batch] y) { a = Relu(x) y = Transpose(a) }",
        "(float[1, 8] x) => (float[8, 1] y) { a = Relu(x) y = Transpose(a) }",
        dims={"batch": 1, "seq": 8},
    )


def test_dims_that_follow_are_inferred() -> None:
    model = model_from(
        "(float[batch, past, 2] p, float[batch, seq, 2] x) => (float[batch, total, 2] y) { y = Concat<axis = 1>(p, x) }"
    )
    FreezeDims((("batch", 1), ("past", 7), ("seq", 1)))(model)
    assert dims(model.graph.outputs[0])[0] == 1
    assert dims(model.graph.outputs[0])[2] == 2


def test_a_dim_without_a_name_is_reached_by_position() -> None:
    model = model_from("(float[?, 4] x) => (float[?, 4] y) { y = Relu(x) }")
    FreezeDims((("x:0", 3),))(model)
    assert dims(model.graph.outputs[0]) == (3, 4)


def test_static_models_are_left_alone() -> None:
    assert_leaves(FreezeDims(), "(float[2] x) => (float[2] y) { y = Relu(x) }", because=None)


def test_an_unknown_dim_is_named_with_those_that_exist() -> None:
    assert_leaves(
        FreezeDims((("sek", 1),)), RELU, because="no dim called 'sek'; did you mean seq? its dynamic dims: batch, seq"
    )


def test_a_position_stands_for_the_name_too() -> None:
    model = model_from("(float[batch, 4] x) => (float[4, batch] y) { y = Transpose(x) }")
    FreezeDims((("x:0", 3),))(model)
    assert dims(model.graph.outputs[0]) == (4, 3)


@pytest.mark.parametrize(
    ("dims_given", "because"),
    [
        ((("batch", -1),), "dim 'batch' cannot have size -1"),
        ((("batch", 2), ("x:0", 3)), "dim 'batch' is given as 2 and as 3"),
    ],
)
def test_sizes_that_cannot_be_are_declined(dims_given, because) -> None:
    report = FreezeDims(dims_given)(model_from(RELU))
    assert [entry.text for entry in report.declined] == [because]


def test_shapes_noted_for_another_size_are_forgotten() -> None:
    model = model_from("(float[batch, 4] x) => (float[batch, 4] y) { a = Relu(x) y = Neg(a) }")
    noted = next(iter(model.graph)).outputs[0]
    noted.shape = Shape((1, 4))
    FreezeDims((("batch", 3),))(model)
    assert dims(noted) == (3, 4)


def test_dims_written_as_a_question_mark_need_not_be_equal() -> None:
    model = model_from("(float[?, 4] x, float[?, 4] z) => (float[?, 4] y) { y = Concat<axis = 0>(x, z) }")
    for value, size in zip(model.graph.inputs, ("?", "?"), strict=True):
        value.shape = Shape((size, 4))
    FreezeDims((("x:0", 3),))(model)
    assert dims(model.graph.inputs[0]) == (3, 4)
    assert dims(model.graph.inputs[1]) == (None, 4)


@pytest.mark.parametrize(("size", "op"), [(1, "Relu"), (2, "Neg")])
def test_branches_that_depend_on_a_shape_are_decided(size, op) -> None:
    model = model_from("""(float[N, 4] x) => (float[A, B] y) <int64 zero = {0}, int64 one = {1}> {
        s = Shape(x) n = Gather(s, zero) c = Equal(n, one)
        y = If(c) <then_branch = t () => (float[A, B] p) {p = Relu(x)},
                   else_branch = e () => (float[A, B] q) {q = Neg(x)}>
    }""")
    runner = Runner()
    runner.run(model, [FreezeDims((("x:0", size),))])
    runner.run_until_stable(model, Choice().make(CLEAN))
    assert [node.op_type for node in nodes(model)] == [op]


def test_whatever_surrounds_a_frozen_input_keeps_its_numbers() -> None:
    def build(around: Surroundings) -> None:
        x = around.op("Relu", around.input(2, 3, declared=("N", 3)))
        shape = around.op("Shape", x)
        around.op("Reshape", around.op("Neg", x), shape)

    check_surroundings(FreezeDims((("N", 2),)), build, least_hits=1.0, tolerance=0)
