# no assert_rewrites: it adds an input, which the graph that it is compared with has not

import numpy as np

from npuopt.decoder import PositionTable
from npuopt.graph import Session, nodes
from npuopt.passes.freeze.insert_position_inputs import InsertPositionInputs
from support.rewrites import assert_leaves, model_from

ROTARY = """(float[1,2,new,4] x) => (float[1,2,new,4] y)
    <int64 zero = {0}, int64 one = {1}, float[2] rates = {1, 0.1}, int64[2] both = {0, 2}>
    { s = Shape<start = 2, end = 3>(x) n = Squeeze(s) p = Range(zero, n, one) f = Cast<to = 1>(p) u = Unsqueeze(f, both)
      a = Mul(u, rates) c = Cos(a) d = Sin(a) y = RotaryEmbedding(x, c, d) }"""
LEARNED = """(int64[1,new] ids) => (float[1,new,2] q)
    <int64 zero = {0}, int64 one = {1}, float[4,2] table = {0, 1, 2, 3, 4, 5, 6, 7}>
    { s = Shape<start = 1, end = 2>(ids) n = Squeeze(s) p = Range(zero, n, one) y = Gather(table, ids)
      z = Gather(table, p) q = Add(y, z) }"""
ANGLES = (np.arange(8)[:, None] * np.array([1, 0.1])).astype(np.float32)


def test_angles_are_looked_up_at_the_positions_given():
    model = model_from(ROTARY)
    tables = (PositionTable("c", 1, np.cos(ANGLES)[:, None]), PositionTable("d", 1, np.sin(ANGLES)[:, None]))
    report = InsertPositionInputs(tables, 3)(model)
    assert len(report.changed) == 2
    assert not nodes(model, "Range", "Cos", "Sin")
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype(np.float32)
    got = Session(model).run({"x": x, "position_ids": np.array([[2, 3, 4]])})["y"]
    longer = np.concatenate([np.zeros((1, 2, 2, 4), np.float32), x], axis=2)
    expected = Session(model_from(ROTARY)).run({"x": longer})["y"][:, :, 2:]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_positions_themselves_are_the_input():
    model = model_from(LEARNED)
    InsertPositionInputs((PositionTable("p", 0, np.arange(4)),), 2)(model)
    got = Session(model).run({"ids": np.array([[0, 1]]), "position_ids": np.array([[2, 3]])})["q"]
    np.testing.assert_array_equal(got, [[[4, 6], [8, 10]]])


def test_the_models_own_input_of_positions_gives_way():
    own = LEARNED.replace("(int64[1,new] ids)", "(int64[1,new] ids, int64[1,new] position_ids)")
    model = model_from(own.replace("z = Gather(table, p)", "z = Gather(table, position_ids)"))
    InsertPositionInputs((PositionTable("z", 1, np.arange(8).reshape(4, 1, 2).astype(np.float32)),), 2)(model)
    assert [value.name for value in model.graph.inputs] == ["ids", "position_ids"]
    got = Session(model).run({"ids": np.array([[0, 1]]), "position_ids": np.array([[2, 3]])})["q"]
    np.testing.assert_array_equal(got, [[[4, 6], [8, 10]]])


def test_values_that_are_not_there_are_left():
    text = "(float[1, 2] x) => (float[1, 2] y) { y = Relu(x) }"
    table = PositionTable("gone", 0, np.arange(4))
    assert_leaves(InsertPositionInputs((table,)), text, because="no such value")
