# no assert_rewrites: it exchanges an input, which the graph that it is compared with has not

import numpy as np

from npuopt.graph import Session
from npuopt.passes.freeze.split_embedding import SplitEmbedding
from support.rewrites import assert_leaves, model_from

TABLE = "float[4, 2] table = {1, 2, 3, 4, 5, 6, 7, 8}"
TIED = """(int64[1, 3] ids, float[2] bias) => (float[1, 3, 4] y) <%s>
    { v = Gather(table, ids) h = Add(v, bias) t = Transpose<perm=[1, 0]>(table) y = MatMul(h, t) }"""


def test_vectors_become_an_input_and_a_tied_product_keeps_the_table():
    model = model_from(TIED % TABLE)
    report = SplitEmbedding("v")(model)
    assert [value.name for value in model.graph.inputs] == ["token_vectors", "bias"]
    assert report.changed
    assert "table" in model.graph.initializers
    ids, bias = np.array([[2, 0, 3]]), np.array([1, -1], np.float32)
    table = np.arange(1, 9, dtype=np.float32).reshape(4, 2)
    got = Session(model).run({"token_vectors": table[ids], "bias": bias})["y"]
    np.testing.assert_array_equal(got, Session(model_from(TIED % TABLE)).run({"ids": ids, "bias": bias})["y"])


def test_ids_that_are_read_elsewhere_stay():
    text = f"(int64[1, 3] ids) => (float[1, 3, 2] v, int64[1, 3] n) <{TABLE}> {{ v = Gather(table, ids) n = Neg(ids) }}"
    assert_leaves(SplitEmbedding("v"), text, because="no input that it alone reads")


def test_a_table_that_is_given_is_none_of_the_graphs():
    text = "(int64[1, 3] ids, float[4, 2] table) => (float[1, 3, 2] v) { v = Gather(table, ids) }"
    assert_leaves(SplitEmbedding("v"), text, because="no lookup in a constant table")


def test_vectors_that_are_an_output_stay():
    text = f"(int64[1, 3] ids) => (float[1, 3, 2] v) <{TABLE}> {{ v = Gather(table, ids) }}"
    assert_leaves(SplitEmbedding("v"), text, because="it is a graph output")
