# no assert_rewrites: it adds inputs, which the graph that it is compared with has not

import numpy as np

from npuopt.graph import Session, nodes
from npuopt.passes.freeze.insert_source_inputs import InsertSourceInputs
from support.rewrites import assert_leaves, model_from

CROSS = """(float[1,2,3,4] q, float[1,5,8] states, int64[3,5] counts) => (float[1,2,3,4] y)
    <float[8,8] wk = {ONES}, float[8,8] wv = {ONES}, int64[4] split = {1, 5, 2, 4},
    float zero = {0}, float low = {-1e9},
     bool no = {0}>
    { a = MatMul(states, wk) b = Reshape(a, split) k = Transpose<perm = [0, 2, 1, 3]>(b)
      c = MatMul(states, wv) d = Reshape(c, split) v = Transpose<perm = [0, 2, 1, 3]>(d)
      t = Cast<to = 9>(counts) m = Where(t, zero, low) y = Attention(q, k, v, m) }""".replace(
    "ONES", ", ".join(str((place % 7) / 7) for place in range(64))
)
PLACES = (("k", "cross_key", (1, 2, 5, 4)), ("v", "cross_value", (1, 2, 5, 4)))


def feeds():
    random = np.random.default_rng(0)
    return {
        "q": random.normal(size=(1, 2, 3, 4)).astype(np.float32),
        "states": random.normal(size=(1, 5, 8)).astype(np.float32),
        "counts": np.array([[1, 1, 1, 0, 0]] * 3),
    }


def test_keys_values_and_mask_are_given():
    before, model, given = model_from(CROSS), model_from(CROSS), feeds()
    made = Session(model_from(CROSS.replace("(float[1,2,3,4] y)", "(float[1,2,3,4] y, float[1,2,5,4] k)"))).run(given)
    report = InsertSourceInputs(PLACES, (("m", None),), "mask", (1, 1, 3, 5))(model)
    assert [entry.node for entry in report.changed] == ["k", "v", "m"]
    assert [value.name for value in model.graph.inputs] == ["q", "cross_key", "cross_value", "mask"]
    assert not nodes(model, "MatMul", "Where")
    mask = np.broadcast_to(np.where(given["counts"][0] > 0, 0, -200).astype(np.float32), (1, 1, 3, 5))
    value = (given["states"] @ weights(before, "wv")).reshape(1, 5, 2, 4).transpose(0, 2, 1, 3)
    got = Session(model).run({"q": given["q"], "cross_key": made["k"], "cross_value": value, "mask": mask})["y"]
    np.testing.assert_allclose(got, made["y"], atol=1e-5)


def test_what_a_mask_adds_stays():
    biased = CROSS.replace("m = Where(t, zero, low)", "h = Where(t, zero, low) m = Add(h, rising)").replace(
        "bool no", "float[3,5] rising = {RISING}, bool no".replace("RISING", ", ".join(str(i / 9) for i in range(15)))
    )
    model, given = model_from(biased), feeds()
    rising = weights(model, "rising")
    expected = Session(model_from(biased)).run(given)["y"]
    InsertSourceInputs((), (("m", rising),), "mask", (1, 1, 3, 5))(model)
    mask = np.broadcast_to(np.where(given["counts"][0] > 0, 0, -200).astype(np.float32), (1, 1, 3, 5))
    got = Session(model).run({"q": given["q"], "states": given["states"], "mask": mask})["y"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_mask_that_others_read_is_left():
    text = "(float[1, 2] x, float[2, 2] m) => (float[2, 2] y) { n = Relu(m) y = Add(x, n) }"
    assert_leaves(InsertSourceInputs(masks=(("n", None),)), text, because="other nodes than attentions read it")


def test_values_that_are_not_there_are_left():
    text = "(float[1, 2] x) => (float[1, 2] y) { y = Relu(x) }"
    assert_leaves(InsertSourceInputs(values=(("gone", "given", (1,)),)), text, because="no such value")


def weights(model, name):
    return model.graph.initializers[name].const_value.numpy()
