from npuopt.graph import DataType, element_type, nodes
from npuopt.passes.lower.lower_boolean_data import LowerBooleanData
from npuopt.pipeline.legalize import legalize
from support.descriptors import target_with
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

BEFORE = "(bool[2, 3] x) => (bool[3, 2] y) {y = Transpose(x)}"


def test_becomes_numbers_between_casts():
    after = """(bool[2, 3] x) => (bool[3, 2] y) {a = Cast<to = 2>(x) b = Transpose(a) y = Cast<to = 9>(b)}"""
    assert_rewrites(LowerBooleanData(), BEFORE, after)


def test_a_target_chooses_the_type():
    text = """(bool[2, 3] x) => (bool[4, 3] y) <int64[4] p = {1, 0, 1, 0}, bool v = {1}> {y = Pad(x, p, v)}"""
    assert_rewrites(LowerBooleanData(kind="int32"), text, None)
    moves = "dtypes: {inputs: {0: [int32], 2: [int32]}, outputs: {0: [int32]}}, when: [{constant: input 1}]"
    casts = "dtypes: {inputs: {0: [bool, int32]}, outputs: {0: [bool, int32]}}"
    target = target_with(f"{{Pad: {{{moves}}}, Cast: {{{casts}}}}}")
    model = model_from(text)
    assert legalize(model, target, [LowerBooleanData()]).refused_after == 0
    assert element_type(nodes(model, "Pad")[0].outputs[0]) == DataType.INT32


def test_leaves_numbers():
    assert_leaves(LowerBooleanData(), BEFORE.replace("bool", "float"), because=None)


def test_numbers_in_any_surroundings():
    def build(around: Surroundings) -> None:
        x = around.op("Not", around.input(2, 3, dtype="bool"))
        if around.choose(True, False):
            around.op("Concat", x, around.input(2, 3, dtype="bool"), axis=around.choose(0, 1))
        else:
            around.ops("Split", x, outputs=2, num_outputs=2, axis=around.choose(0, 1))

    check_surroundings(LowerBooleanData(), build, examples=15, least_hits=0.9, tolerance=0)
