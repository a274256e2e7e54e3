from npuopt.passes.clean.drop_unused_nodes import DropUnusedNodes
from support.rewrites import assert_leaves, assert_rewrites
from support.surroundings import Surroundings, check_surroundings


def test_a_dead_chain_goes_with_its_initializer():
    assert_rewrites(
        DropUnusedNodes(),
        "(float[N, 3] x) => (float[N, 3] y) <float[3] w = {1, 2, 3}> {a = Relu(x) b = Mul(a, w) y = Neg(x)}",
        "(float[N, 3] x) => (float[N, 3] y) {y = Neg(x)}",
    )


def test_a_dead_branch_frees_what_it_captured():
    assert_rewrites(
        DropUnusedNodes(),
        """(bool c, float[N] x) => (float[N] y) {
            a = Relu(x)
            dead = If(c) <then_branch = t () => (float[N] p) {p = Neg(a)},
                                 else_branch = e () => (float[N] q) {q = Abs(a)}
            >
            y = Exp(x)
        }""",
        "(bool c, float[N] x) => (float[N] y) {y = Exp(x)}",
        because="graph input 'c' is read by nobody",
    )


def test_dead_nodes_in_a_live_branch_go():
    live = """(bool c, float[N] x) => (float[N] y) {
        y = If(c) <then_branch = t () => (float[N] p) {DEAD p = Neg(x)},
                   else_branch = e () => (float[N] q) {q = Abs(x)}>
    }"""
    assert_rewrites(
        DropUnusedNodes(), live.replace("DEAD", "a = Relu(x) b = Exp(a)"), live.replace("DEAD", ""), because=None
    )


def test_a_node_with_one_output_in_use_stays_whole():
    assert_leaves(
        DropUnusedNodes(),
        "(float[N, 6] x) => (float[N, 3] y) {y, z = Split<axis = 1, num_outputs = 2>(x)}",
        because=None,
    )


def test_inputs_and_their_defaults_stay():
    report = assert_leaves(
        DropUnusedNodes(),
        "(float[N] x, float[N] unread, float[2] w) => (float[N] y) <float[2] w = {1, 2}> {y = Neg(x)}",
        because="graph input 'unread' is read by nobody",
    )
    assert report.notes[-1] == "graph input 'w' is read by nobody"


def test_whatever_surrounds_a_dead_chain_keeps_its_numbers():
    def build(around: Surroundings) -> None:
        live = around.op("Relu", around.input(2, 3))
        dead = around.op("Exp", live, company=False)
        around.op("Neg", live)
        around.unread.append(dead)

    check_surroundings(DropUnusedNodes(), build, least_hits=0.9)
