import numpy as np
import pytest

from npuopt.graph import nodes
from npuopt.passes.clean.fold_loops import FoldLoops
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import Surroundings, check_surroundings

LOOP = """(float[2] x, float[2] c, bool k, int64 n) => (float[2] v, float[2, 2] rows) <int64 m = {2}, bool go = {1}> {
    v, rows = Loop(m, go, x) <body = b (int64 i, bool on, float[2] s) => (bool on2, float[2] t, float[2] row) {
        on2 = Identity(on) t = Mul(s, c) f = Cast<to = 1>(i) row = Add(s, f)
    }>
}"""
ROUNDS = """(float[2] x, float[2] c, bool k, int64 n) => (float[2] v, float[2, 2] rows)
    <int64 i0 = {0}, int64 i1 = {1}, int64[1] axis = {0}, bool on = {1}, int64 m = {2}, bool go = {1}> {
    o0 = Identity(on) s1 = Mul(x, c) f0 = Cast<to = 1>(i0) r0 = Add(x, f0)
    o1 = Identity(on) v = Mul(s1, c) f1 = Cast<to = 1>(i1) r1 = Add(s1, f1)
    u0 = Unsqueeze(r0, axis) u1 = Unsqueeze(r1, axis) rows = Concat<axis = 0>(u0, u1)
}"""
SCAN = """(float[3, 2] x, float[2] s) => (float[2] v, float[A, B] y) {
    v, y = Scan <num_scan_inputs = 1, ATTRIBUTES body = b (float[2] h, float[2] e) => (float[2] o, float[2] row) {
        o = Add(h, e) row = Mul(o, e)
    }> (s, x)
}"""


def test_the_rounds_of_a_loop_are_written_out():
    assert_rewrites(FoldLoops(2), LOOP, ROUNDS)


@pytest.mark.parametrize(
    "attributes", ["", "scan_input_directions = [1],", "scan_output_axes = [1],", "scan_output_directions = [1],"]
)
def test_the_rounds_of_a_scan_are_written_out(attributes):
    report = assert_rewrites(FoldLoops(3), SCAN.replace("ATTRIBUTES", attributes), None)
    assert [entry.text for entry in report.changed] == ["is 3 rounds"]


def test_a_loop_of_no_rounds_gives_back_what_came_in():
    text = """(float[2] x) => (float[2] y) <int64 m = {0}, bool go = {1}> {
        v = Loop(m, go, x) <body = b (int64 i, bool on, float[2] s) => (bool on2, float[2] t) {
            on2 = Identity(on) t = Neg(s)
        }>
        y = Abs(v)
    }"""
    assert_rewrites(FoldLoops(1), text, "(float[2] x) => (float[2] y) <int64 m = {0}, bool go = {1}> {y = Abs(x)}")


def test_a_state_that_grows_has_another_shape_in_each_round():
    model = model_from("""(float[N] x) => (float[M] y) <int64 m = {2}> {
        y = Loop(m, , x) <body = b (int64 i, bool on, float[K] s) => (bool on2, float[L] t) {
            on2 = Identity(on) t = Concat<axis = 0>(s, s)
        }>
    }""")
    assert_rewrites(FoldLoops(2), model, None, dims={"N": 3})
    assert [node.op_type for node in nodes(model)].count("Concat") == 2


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (("m = {2}", "m = {3}"), "it has 3 rounds, and most_rounds is 2"),
        (("Loop(m,", "Loop(n,"), "its number of rounds is known at run time only"),
        (("Loop(m,", "Loop(,"), "its number of rounds is known at run time only"),
        (("go, x)", "k, x)"), "whether it begins is known at run time only"),
        (("Identity(on)", "Not(on)"), "whether it goes on is known at run time only"),
        (("m = {2}", "m = {0}"), "a row for each of its 0 rounds"),
    ],
)
def test_other_loops_stay(change, because):
    assert_leaves(FoldLoops(2), LOOP.replace(*change), because=because)


def test_no_loop_is_written_out_unasked():
    assert_leaves(FoldLoops(), LOOP, because="it has 2 rounds, and most_rounds is 0")


def test_whatever_surrounds_a_loop_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        import onnx.helper as oh  # noqa: PLC0415 -- for a body, which the surroundings do not draw

        float_, bool_, int_ = (oh.make_tensor_value_info for _ in range(3))
        outer = around.op("Neg", around.input(2, 3))
        body = oh.make_graph(
            [
                oh.make_node("Identity", ["on"], ["on2"]),
                oh.make_node(around.choose("Add", "Mul"), ["s", outer], ["t"]),
                oh.make_node("Identity", [around.choose("s", "t", outer)], ["row"]),
            ],
            "body",
            [int_("i", 7, []), bool_("on", 9, []), float_("s", 1, [2, 3])],
            [bool_("on2", 9, []), float_("t", 1, [2, 3]), float_("row", 1, [2, 3])],
        )
        count = around.constant(np.array(around.choose(1, 2, 3)))
        go = around.constant(np.array(True), varies=False)
        state, rows = around.ops("Loop", count, go, around.op("Abs", outer), outputs=2, company=False, body=body)
        around.op("Reshape", state, around.constant(np.array([2, 3]), varies=False))  # inference does not size loops
        around.op("Reshape", rows, around.constant(np.array([-1, 6]), varies=False))

    check_surroundings(FoldLoops(3), build, examples=40, least_hits=0.2)
