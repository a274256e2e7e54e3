# no assert_rewrites: it adds an input, which the graph that it is compared with has not

import numpy as np

from npuopt.graph import Session
from npuopt.passes.freeze.insert_token_choice import InsertTokenChoice
from support.rewrites import assert_leaves, model_from

TEXT = """(float[1, 3, 2] x) => (float[1, T, 4] y) <float[2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8}, float c = {2}>
    { p = MatMul(x, w) d = Div(p, c) t = Tanh(d) y = Mul(t, c) }"""


def test_one_token_goes_through_the_product():
    model = model_from(TEXT)
    InsertTokenChoice("p")(model)
    assert list(model.graph.outputs[0].shape)[1] == 1
    x = np.random.default_rng(0).normal(size=(1, 3, 2)).astype(np.float32)
    got = Session(model).run({"x": x, "last_token": np.array([1])})["y"]
    np.testing.assert_allclose(got, Session(model_from(TEXT)).run({"x": x})["y"][:, 1:2], atol=1e-6)


def test_products_of_other_shapes_are_left():
    text = "(float[3, 2] x) => (float[3, 4] y) <float[2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8}> { y = MatMul(x, w) }"
    assert_leaves(InsertTokenChoice("y"), text, because="not [batch, tokens, width]")
