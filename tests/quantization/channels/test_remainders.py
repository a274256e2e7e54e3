"""Products whose second operand may only have 8 bits get the rest of it as a second product."""

import numpy as np
import pytest

from npuopt.graph.execution import Session
from npuopt.passes.quantize.insert_quantize_dequantize import InsertQuantizeDequantize
from npuopt.passes.quantize.split_products import SplitProducts as SplitPass
from npuopt.quantization import calibrate
from npuopt.quantization.steps import Work, standard_steps
from npuopt.quantization.steps.remainders import SplitProducts
from support.integer_chip import integer_chip
from support.stepping import literal, work_on

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 1, 16, 8)).astype(np.float32)
UNSEEN = RNG.normal(size=(1, 16, 8)).astype(np.float32)
W = {name: literal(RNG.normal(size=(8, 8))) for name in "qkv"}
WEIGHTS = ", ".join(f"float[8,8] w{name} = {{{numbers}}}" for name, numbers in W.items())


def attention(outputs=""):
    return f"""(float[1,16,8] x) => (float[1,16,8] y{outputs}) <{WEIGHTS}>
        {{q = MatMul(x, wq) k = MatMul(x, wk) t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t)
        p = Tanh(s) v = MatMul(x, wv) y = MatMul(p, v)}}"""


def split(text, folder, scheme="a16w8", least=80.0):
    """Return the names of the products that the step splits, and the work with the model that comes of it."""
    work = work_on(text, folder, scheme, integer_chip(rounds_floats=True), x=X)
    found = {}
    for rewrite in SplitProducts(least_sqnr_db=least).rewrites(work):
        report = SplitPass(**rewrite.options)(work.model, work.target)
        assert not report.declined
        found |= rewrite.options["encodings"]
    ranges = calibrate(work.model, work.samples, threads=1)
    return found, Work(work.model, work.target, scheme, work.samples, ranges, threads=1)


def sqnr_db(work):
    """Return how well the quantized model follows the float one, on data not seen before."""
    expected = Session(work.model).run({"x": UNSEEN})["y"]
    InsertQuantizeDequantize(work.encodings())(work.model)
    got = Session(work.model).run({"x": UNSEEN})["y"]
    return 10 * np.log10(np.square(expected).sum() / np.square(got - expected).sum())


def test_both_products_are_split_and_gain_what_eight_bits_lose(tmp_path):
    plain = sqnr_db(work_on(attention(), tmp_path, "a16w8", x=X))
    found, work = split(attention(), tmp_path)
    assert set(found) == {"s", "y"}
    assert plain < 50
    assert sqnr_db(work) > plain + 20


def test_the_high_bits_are_held_as_they_were_split_and_all_else_follows(tmp_path):
    found, work = split(attention(), tmp_path)
    encodings = work.encodings()
    high = next(value.name for node in work.model.graph for value in node.outputs if value.name.startswith("t/high/D"))
    held = encodings.tensors[high]
    assert held.model_dump(mode="json", exclude_none=True) == found["s"]
    assert encodings.tensors["t"].dtype == "uint16"
    readers = {use.node.op_type: use.node for value in (held_value(work, high),) for use in value.uses()}
    assert set(readers) == {"MatMul", "Sub"}
    assert encodings.uses[readers["Sub"].outputs[0].name][1].dtype == "uint16"
    (rest,) = (use.node for use in readers["Sub"].outputs[0].uses())
    finer = encodings.uses[rest.outputs[0].name][1]
    assert finer.dtype == "uint8"
    assert finer.scale[0] < held.scale[0] / 200


def held_value(work, name):
    return next(value for node in work.model.graph for value in node.outputs if value.name == name)


def test_only_noisy_products_are_split(tmp_path):
    assert split(attention(), tmp_path, least=20.0)[0] == {}


def test_products_of_equal_bits_are_left_alone(tmp_path):
    assert split(attention(), tmp_path, "a8w8")[0] == {}


@pytest.mark.parametrize("output", ["k", "t"])
def test_what_leaves_the_graph_is_left_alone(output, tmp_path):
    shape = {"k": "1,16,8", "t": "1,8,16"}[output]
    assert set(split(attention(f", float[{shape}] {output}"), tmp_path)[0]) == {"y"}


def test_operands_that_come_into_the_graph_are_left_alone(tmp_path):
    text = f"""(float[1,16,8] x) => (float[1,16,16] y) <{WEIGHTS}>
        {{q = MatMul(x, wq) t = Transpose<perm=[0,2,1]>(x) y = MatMul(q, t)}}"""
    assert split(text, tmp_path)[0] == {}


def test_a_product_that_the_user_keeps_in_float_stays(tmp_path):
    work = work_on(attention(), tmp_path, "a16w8", x=X)
    work.precisions = {"s": "fp16"}
    (rewrite,) = SplitProducts(least_sqnr_db=80.0).rewrites(work)
    assert set(rewrite.options["encodings"]) == {"y"}


def test_without_data_nothing_is_split(tmp_path):
    work = work_on(attention(), tmp_path, "a16w8", x=X)
    work.samples = None
    assert list(SplitProducts().rewrites(work)) == []


def test_a_model_without_such_products_is_not_run(tmp_path):
    work = work_on("(float[4,8] x) => (float[4,8] y) {y = Relu(x)}", tmp_path, "a16w8", x=X[:, 0, :4])
    assert list(SplitProducts().rewrites(work)) == []


def test_it_runs_unasked_as_the_data_says_where_it_is_worth_it():
    assert "split-products" in standard_steps(integer_chip().scheme("a16w8"))
