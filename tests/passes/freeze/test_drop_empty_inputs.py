from npuopt.graph import nodes
from npuopt.passes.freeze.drop_empty_inputs import DropEmptyInputs
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings


def test_concat_with_an_empty_cache_is_the_new_keys() -> None:
    report = assert_rewrites(
        DropEmptyInputs(),
        """(float[1, 0, 4] past, float[1, 3, 4] x) => (float[1, 3, 4] y) {
            k = Relu(x) c = Concat<axis = 1>(past, k) y = Abs(c)
        }""",
        "(float[1, 3, 4] x) => (float[1, 3, 4] y) { k = Relu(x) y = Abs(k) }",
    )
    assert report.notes == ["dropped empty input past [1, 0, 4]"]


def test_concat_of_three_keeps_the_other_two() -> None:
    assert_rewrites(
        DropEmptyInputs(),
        "(float[0] e, float[2] a, float[3] b) => (float[5] y) { y = Concat<axis = 0>(a, e, b) }",
        "(float[2] a, float[3] b) => (float[5] y) { y = Concat<axis = 0>(a, b) }",
    )


def test_a_concat_output_that_callers_know_keeps_its_name() -> None:
    model = model_from("(float[0] e, float[2] a) => (float[2] y) { y = Concat<axis = 0>(e, a) }")
    DropEmptyInputs()(model)
    assert [node.op_type for node in nodes(model)] in (["Identity"], ["Concat"])
    assert model.graph.outputs[0].name == "y"
    assert [value.name for value in model.graph.inputs] == ["a"]


def test_other_readers_get_an_empty_constant() -> None:
    model = model_from(
        "(float[0, 4] e) => (float[1, 4] y) { y = ReduceSum<keepdims = 1>(e) }".replace("[1, 4] y", "[1, 1] y")
    )
    DropEmptyInputs()(model)
    assert not model.graph.inputs


def test_inputs_that_hold_something_stay() -> None:
    assert_leaves(DropEmptyInputs(), "(float[2] x) => (float[2] y) { y = Relu(x) }", because=None)


def test_whatever_surrounds_an_empty_input_keeps_its_numbers() -> None:
    def build(around: Surroundings) -> None:
        past = around.input(2, around.choose(0, 0, 0, 1), 3)
        parts = [past, around.op("Neg", around.input(2, 2, 3))]
        around.op("Concat", *(parts if around.choose(True, False) else parts[::-1]), axis=1)
        around.op("ReduceSum", past, keepdims=0)

    check_surroundings(DropEmptyInputs(), build, least_hits=0.4, tolerance=0)
