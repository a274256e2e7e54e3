import numpy as np
import pytest

from npuopt.graph import is_op
from npuopt.passes.quantize.fold_residual_rotation import FoldResidualRotation
from support.rewrites import assert_leaves, assert_rewrites, model_from
from support.surroundings import check_surroundings

ROTATE = FoldResidualRotation(seed=0)


def literals(seed=0, **shapes):
    """Return constants of these shapes as ONNX text."""
    generator = np.random.default_rng(seed)
    texts = []
    for name, shape in shapes.items():
        numbers = ",".join(f"{number:.3f}" for number in generator.normal(0, 1, shape).ravel())
        texts.append(f"float[{','.join(map(str, shape))}] {name} = {{{numbers}}}")
    return ", ".join(texts)


LAYER = """n = RMSNormalization<axis=-1>(e, g) a = MatMul(n, wa) b = Relu(a) o = MatMul(b, wo) s = Add(e, o)"""
HEAD = """m = RMSNormalization<axis=-1>(s, f)"""
WEIGHTS = {"g": (4,), "wa": (4, 3), "wo": (3, 4), "f": (4,)}
RANGES = {"ids": (0, 5)}


def decoder(head, io="(int64[1,3] ids) => (float[1,3,5] y)", body=LAYER, **shapes):
    return f"{io} <{literals(**WEIGHTS, **shapes)}> {{e = Gather(table, ids) {body} {HEAD} {head}}}"


def test_a_stream_from_its_table_to_the_head():
    model = model_from(decoder("y = MatMul(m, wh)", table=(5, 4), wh=(4, 5)))
    report = assert_rewrites(ROTATE, model, None, ranges=RANGES, tolerance=1e-5)
    assert "4 channels rotated in 2 makers and 2 readers" in report.changed[0].text
    norms = [node for node in model.graph if is_op(node, "RMSNormalization")]
    assert all((norm.inputs[1].const_value.numpy() == 1).all() for norm in norms), "scales went into the weights"


def test_no_channel_stands_out_any_more():
    text = """(int64[8] ids) => (float[8,2] y) <float[2,16] table = {1,1,1,100,1,1,1,1,1,1,1,1,1,1,1,1,
        1,-1,1,-90,1,1,1,1,1,-1,1,1,1,1,1,1}, float[16] g = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}, %s>
        {e = Gather(table, ids) o = MatMul(e, wo) s = Add(e, o) n = RMSNormalization<axis=-1>(s, g)
        y = MatMul(n, wh)}"""
    model = model_from(text % literals(wo=(16, 16), wh=(16, 2)))
    assert_rewrites(ROTATE, model, None, ranges={"ids": (0, 2)}, tolerance=1e-5)
    rotated = np.abs(model.graph.initializers["table"].const_value.numpy())
    assert rotated.max() < 35, "100 of one channel are 25 of each of the 16, and the others' share"


def test_weights_either_way_round_with_biases_and_shifts():
    body = """n = RMSNormalization<axis=-1>(e, g) a = Gemm<transB=1>(n, wat, ba) b = Relu(a)
        o = Gemm<transB=1, alpha=0.5>(b, wot, bo) p = Add(shift, o) s = Add(e, p)"""
    text = f"""(int64[3] ids) => (float[3,5] y)
        <{literals(table=(5, 4), g=(4,), wat=(3, 4), ba=(3,), wot=(4, 3), bo=(4,), shift=(1, 4), f=(4,), wh=(5, 4))}>
        {{e = Gather(table, ids) {body} {HEAD} y = Gemm<transB=1>(m, wh)}}"""
    assert_rewrites(ROTATE, text, None, ranges=RANGES, tolerance=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        "turned = Transpose<perm=[1,0]>(table) y = MatMul(m, turned)",
        "flat = Squeeze(m, zero) y = Gemm<transB=1>(flat, table)",
    ],
)
def test_a_tied_table_stays_one_and_a_small_product_does_the_rest(head):
    out = "float[3,5] y" if "Gemm" in head else "float[1,3,5] y"
    text = decoder(head, f"(int64[1,3] ids) => ({out})", table=(5, 4)).replace(
        "<float[4] g", "<int64[1] zero = {0}, float[4] g"
    )
    model = model_from(text)
    assert_rewrites(ROTATE, model, None, ranges=RANGES, tolerance=1e-5)
    readers = [use.node.op_type for use in model.graph.initializers["table"].uses()]
    assert sorted(readers) == sorted(["Gather", "Transpose" if "Transpose" in head else "Gemm"])
    assert model.graph.initializers["y/scale_in_basis"].shape == [4, 4]


def test_a_tied_head_behind_a_scale_of_one_number_needs_nothing_more():
    text = decoder("turned = Transpose<perm=[1,0]>(table) y = MatMul(m, turned)", table=(5, 4))
    start = text.index("float[4] f = {")
    text = text[:start] + "float[4] f = {3,3,3,3}" + text[text.index("}", start) + 1 :]
    model = model_from(text)
    before = len(list(model.graph))
    assert_rewrites(ROTATE, model, None, ranges=RANGES, tolerance=1e-5)
    assert len(list(model.graph)) == before


def test_through_what_lays_out_scales_and_picks_positions():
    body = """n = RMSNormalization<axis=-1>(e, g) r = Reshape(n, flat) a = MatMul(r, wa) b = Relu(a) o = MatMul(b, wo)
        u = Reshape(o, back) v = Add(e, u) w = Mul(v, two) s = Gather<axis=1>(w, last)"""
    constants = "int64[2] flat = {3,4}, int64[3] back = {1,3,4}, float[1] two = {2}, int64[1] last = {2}, "
    text = decoder("y = MatMul(m, wh)", "(int64[1,3] ids) => (float[1,1,5] y)", body, table=(5, 4), wh=(4, 5))
    assert_rewrites(ROTATE, text.replace("<float[4] g", f"<{constants}float[4] g"), None, ranges=RANGES, tolerance=1e-5)


@pytest.mark.parametrize(
    ("body", "io", "because"),
    [
        (LAYER.replace("s = Add(e, o)", "t = Tanh(o) s = Add(e, t)"), "", "(Tanh) makes part of it"),
        (LAYER + " q = Tanh(s) r = ReduceSum(q)", ", float[1,1,1] r", "(Tanh) reads s channel by channel"),
        (LAYER, ", float[1,3,4] s", "s is a graph output"),
        (LAYER, ", float[1,3,4] n", "n is a graph output"),
        (LAYER + " q = Tanh(n)", ", float[1,3,4] q", "(Tanh) reads n, and has no weights to fold into"),
        (LAYER + " q = MatMul(b, wo)", ", float[1,3,4] q", "wo is read elsewhere too"),
        (
            LAYER.replace("s = Add(e, o)", "i = InstanceNormalization(o, one, zero) s = Add(e, i)"),
            "",
            "(InstanceNormalization) makes part of it",
        ),
        (LAYER.replace("s = Add(e, o)", "p = Add(o, half) s = Add(e, p)"), "", "adds one number to several channels"),
        (LAYER + " q = LayerNormalization(s, g)", ", float[1,3,4] q", "(LayerNormalization) reads s"),
    ],
)
def test_left_alone(body, io, because):
    text = decoder("y = MatMul(m, wh)", f"(int64[1,3] ids) => (float[1,3,5] y{io})", body, table=(5, 4), wh=(4, 5))
    constants = "float[3] one = {1,1,1}, float[3] zero = {0,0,0}, float[1] half = {0.5}, "
    assert_leaves(ROTATE, text.replace("<float[4] g", f"<{constants}float[4] g"), because=because)


def test_what_nothing_is_added_to_is_no_stream():
    text = decoder("y = MatMul(m, wh)", body="s = Identity(e)", table=(5, 4), wh=(4, 5))
    assert_leaves(ROTATE, text, because=None)


def test_what_is_given_from_outside_stays_in_its_basis():
    text = f"""(float[2,4] x) => (float[2,5] y) <{literals(w=(4, 4), f=(4,), wh=(4, 5))}>
        {{o = MatMul(x, w) s = Add(x, o) m = RMSNormalization<axis=-1>(s, f) y = MatMul(m, wh)}}"""
    assert_leaves(ROTATE, text, because="x is given from outside")


def test_without_a_seed_nothing_is_rotated():
    assert_leaves(FoldResidualRotation(), decoder("y = MatMul(m, wh)", table=(5, 4), wh=(4, 5)), because=None)


def test_whatever_surrounds_a_stream_keeps_its_numbers():
    def build(around):
        generator = np.random.default_rng(1)
        one_varies = around.choose(False, False, False, True)

        def weight(*shape):
            return around.constant(generator.normal(size=shape).astype(np.float32), varies=one_varies)

        x = around.op("MatMul", around.input(2, 3), weight(3, 4))
        n = around.op("RMSNormalization", x, weight(4), axis=-1)
        o = around.op("MatMul", around.op("Relu", around.op("MatMul", n, weight(4, 3))), weight(3, 4))
        s = around.op("Add", x, o)
        m = around.op("RMSNormalization", s, weight(4), axis=-1)
        around.op("MatMul", m, weight(4, 2))

    check_surroundings(ROTATE, build, tolerance=1e-4, examples=60, least_hits=0.1)
