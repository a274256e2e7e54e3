"""Questions that networkx answers: order, depth, lifetimes, pictures."""

import networkx as nx
import pytest

from npuopt.graph import infer_shapes, parse
from npuopt.graph.views import Lifetime, dataflow, lifetimes, longest_path, peak_bytes, to_dot, topological_order

HEADER = '<ir_version: 12, opset_import: ["" : 24]>\n'
TEXT = """g (float[4] x, bool c) => (float[4] y, float[4] side) <float[4] w = {1, 2, 3, 4}> {
    a = Neg(x)
    side = Abs(x)
    b = Mul(a, w)
    d = Sub(b, a)
    y = If(c) <then_branch = t () => (float[4] p) { p = Exp(d) }, else_branch = e () => (float[4] q) { q = Abs(a) }>
}"""
NEG, ABS, MUL, SUB, IF = range(5)


def graph_of(text: str = TEXT):
    model = parse(HEADER + text)
    infer_shapes(model)
    return model.graph


def test_dataflow_counts_what_subgraphs_read():
    view = dataflow(graph_of())
    assert set(view.edges) == {(NEG, MUL), (NEG, SUB), (MUL, SUB), (SUB, IF), (NEG, IF)}
    assert view.edges[MUL, SUB]["values"] == ("b",)
    assert view.nodes[IF]["op_type"] == "If"


def test_topological_order_is_the_graphs_own_where_that_is_one():
    view = dataflow(graph_of())
    assert topological_order(view) == [NEG, ABS, MUL, SUB, IF]
    view.add_edge(IF, NEG)
    with pytest.raises(nx.NetworkXUnfeasible):
        topological_order(view)


def test_longest_path_by_count_and_by_cost():
    view = dataflow(graph_of())
    assert longest_path(view) == [NEG, MUL, SUB, IF]
    assert longest_path(view, lambda index: 100.0 if index == ABS else 1.0) == [ABS]
    assert longest_path(nx.DiGraph()) == []


def test_lifetimes():
    alive = {value.name: lifetime for value, lifetime in lifetimes(graph_of()).items()}
    assert alive == {
        "x": Lifetime(-1, ABS),
        "c": Lifetime(-1, IF),
        "a": Lifetime(NEG, IF),
        "side": Lifetime(ABS, IF),
        "b": Lifetime(MUL, SUB),
        "d": Lifetime(SUB, IF),
        "y": Lifetime(IF, IF),
    }


def test_peak_bytes():
    assert peak_bytes(graph_of()) == 16 * 4 + 1  # at Sub: a, side, b, d, and the bool
    assert peak_bytes(graph_of("g (float[N] x) => (float[N] y) { y = Neg(x) }")) is None


def test_dot_escapes_names():
    graph = graph_of("g (float[4] x) => (float[4] y) { t = Neg(x)  y = Abs(t) }")
    next(iter(graph)).name = 'say "hi"\n'
    text = to_dot(dataflow(graph), {0: "red"})
    assert 'n0 [label="Neg", tooltip="say \\"hi\\"\\n", fillcolor="red"]' in text
    assert 'n0 -> n1 [tooltip="t"]' in text
