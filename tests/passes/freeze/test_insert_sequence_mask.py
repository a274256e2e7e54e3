# no assert_rewrites: it adds an input, which the graph that it is compared with has not

import numpy as np
import pytest

from npuopt.graph import Session, nodes
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.passes.freeze.insert_sequence_mask import InsertSequenceMask
from support.rewrites import assert_leaves, model_from

SIZE, LENGTHS = 6, (1, 2, 5, 6)
HEAD = """(float[N, seq, 4] x) => (float[A, B, C] y) <float[4] c = {1, 2, 3, 4}, int64[4] heads = {0, 0, 2, 2},
    int64[1] last = {-1}, int64[1] end = {99}, int64[1] one = {1}>"""
ATTENTION = "t = Transpose<perm = [0, 2, 1]>(x) s = MatMul(x, t) p = Softmax(s) y = MatMul(p, x)"
HEADS = """a = Reshape(x, heads) q = Transpose<perm = [0, 2, 1, 3]>(a) k = Transpose<perm = [0, 2, 3, 1]>(a)
    s = MatMul(q, k) p = Softmax<axis = 3>(s) d = Dropout(p) v = MatMul(d, q) y = ReduceMean<keepdims = 0>(v, one)"""
ALONG_ROWS = "p = Softmax<axis = 1>(x) n = RMSNormalization(x, c) y = Mul(p, n)"


def numbers(model, **feeds):
    return Session(model, threads=1).run(feeds)["y"]


@pytest.mark.parametrize("body", [ATTENTION, HEADS, ALONG_ROWS], ids=["attention", "heads", "along another axis"])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_padded_sequence_gives_what_the_sequence_alone_gives(body, length):
    x = np.random.default_rng(length).normal(0, 0.5, (2, SIZE, 4)).astype(np.float32)
    alone = numbers(model_from(f"{HEAD} {{{body}}}"), x=x[:, :length])
    model = model_from(f"{HEAD} {{{body}}}")
    report = InsertSequenceMask("seq")(model)
    assert report.notes == ["new input seq_length: how many places along seq are not padding"]
    FreezeDims((("seq", SIZE), ("N", 2)))(model)
    padded = numbers(model, x=x, seq_length=np.array(length))
    np.testing.assert_allclose(padded[:, :length], alone, rtol=1e-5, atol=1e-5)
    unmasked = numbers(model, x=x, seq_length=np.array(SIZE))
    assert (length == SIZE) == np.allclose(unmasked[:, :length], alone)


def test_the_second_run_adds_nothing():
    model = model_from(f"{HEAD} {{{ATTENTION}}}")
    assert InsertSequenceMask("seq")(model).changed
    assert not InsertSequenceMask("seq")(model).changed
    assert [value.name for value in model.graph.inputs] == ["x", "seq_length"]
    assert len(nodes(model, "Where")) == 1


@pytest.mark.parametrize(
    ("body", "because"),
    [
        ("y = ReduceMean(x, one)", "it reduces seq, padding included"),
        ("y = ReduceMean(x)", "it reduces seq, padding included"),
        ("y = Slice(x, last, end, one)", "it picks places along seq"),
        ("y = Concat<axis = 1>(x, x)", "its axis is seq"),
        ("t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(t, x)", "it sums over seq, and no Softmax leaves the padding"),
        ("t = Transpose<perm = [0, 2, 1]>(x) p = Softmax(t) s = Neg(p) y = MatMul(s, x)", "it sums over seq"),
        ("y = LayerNormalization<axis = 1>(x, x)", "it normalizes seq"),
        ("y = CumSum(x, i)", "nobody says what it does along seq"),
        ("y = Flatten(x)", "nobody says what it does along seq"),
    ],
)
def test_models_that_let_padding_reach_other_places_are_left_alone(body, because):
    head = HEAD.replace("int64[1] one", "int64 i = {1}, int64[1] one")
    if "Flatten" in body:
        head = head.replace("A, B, C", "A, B")
    assert_leaves(InsertSequenceMask("seq"), f"{head} {{{body}}}", because=because)


def test_nothing_is_done_unasked_or_where_there_is_nothing_to_do():
    assert_leaves(InsertSequenceMask(), f"{HEAD} {{{ATTENTION}}}", because=None)
    assert_leaves(InsertSequenceMask("seq"), f"{HEAD} {{y = Relu(x)}}", because=None)
    assert_leaves(InsertSequenceMask("time"), f"{HEAD} {{y = Relu(x)}}", because="the model has no dim called 'time'")
