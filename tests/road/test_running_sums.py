"""A decoder whose sums run far in one channel: all profiles divide them alike, and compute them in floats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from npuopt.decoder import NO_HINTS
from npuopt.graph import Session, is_op, save
from npuopt.quantization.assignment.profiles import holdings
from npuopt.road.decoding import cache_form, open_decoder
from npuopt.road.driving import Driver
from npuopt.road.language_model import build_profiles
from npuopt.road.language_model_records import describe
from npuopt.road.options import CompileOptions, LanguageModelOptions, silent
from npuopt.road.profile_quantizing import held_caches, quantize_profiles
from npuopt.target import load_target
from support.decoders import static_driver
from support.rewrites import model_from

WIDTH, SIZE, VOCABULARY, FAR = 32, 8, 50, 9000.0
WANTED = LanguageModelOptions(context=32, chunk=8)
TOKENS = np.random.default_rng(7).integers(0, VOCABULARY, 20).tolist()
STEPS = ("scale-running-sums", "float-running-sums")

TEXT = """(int64[1,n] input_ids) => (float[1,n,50] logits) <
    int64[4] two = {0, -1, 2, 8}, int64[4] one = {0, -1, 1, 8}, int64[3] join = {0, -1, 16}, %s>
    {x = Gather(table, input_ids)
    i = RMSNormalization<axis=-1>(x, plain) q = MatMul(i, wq) k = MatMul(i, wk) v = MatMul(i, wv)
    qs = Reshape(q, two) ks = Reshape(k, one) vs = Reshape(v, one) qt = Transpose<perm=[0,2,1,3]>(qs)
    kt = Transpose<perm=[0,2,1,3]>(ks) vt = Transpose<perm=[0,2,1,3]>(vs) a = Attention<is_causal=1>(qt, kt, vt)
    at = Transpose<perm=[0,2,1,3]>(a) as = Reshape(at, join) o = MatMul(as, wo)
    p = RMSNormalization<axis=-1>(o, far) s = Add(x, p)
    m = RMSNormalization<axis=-1>(s, near) u = MatMul(m, wu) r = Relu(u) d = MatMul(r, wd)
    e = RMSNormalization<axis=-1>(d, far) t = Add(s, e)
    f = RMSNormalization<axis=-1>(t, near) logits = MatMul(f, wh)}"""


def written():
    """Return the decoder's text: what makes the sum writes far into channel 3, and what reads it hardly looks there."""
    draw = np.random.default_rng(0).normal
    outlying = np.arange(WIDTH) == 3
    arrays = {"plain": np.ones(WIDTH), "far": np.where(outlying, FAR, 1.0), "near": np.where(outlying, 1 / FAR, 1.0)}
    shapes = {
        "table": (VOCABULARY, WIDTH),
        "wq": (WIDTH, 2 * SIZE),
        "wk": (WIDTH, SIZE),
        "wv": (WIDTH, SIZE),
        "wo": (2 * SIZE, WIDTH),
        "wu": (WIDTH, WIDTH),
        "wd": (WIDTH, WIDTH),
        "wh": (WIDTH, VOCABULARY),
    }
    arrays |= {name: draw(0, shape[0] ** -0.5, shape) for name, shape in shapes.items()}
    return TEXT % ", ".join(
        f"float[{','.join(map(str, array.shape))}] {name} = {{{','.join(f'{number:.6g}' for number in array.ravel())}}}"
        for name, array in arrays.items()
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("decoder") / "model.onnx"
    save(model_from(written()), made)
    return made


def quantized(path, *, without=(), scheme="a16w8"):
    texts = path.with_name("texts.npz")
    np.savez(texts, input_ids=np.random.default_rng(1).integers(0, VOCABULARY, (8, 24)))
    options = replace(CompileOptions(calibration=texts, language_model=WANTED), without_steps=without)
    target = load_target("qualcomm/sm8750")
    opened = open_decoder(path, WANTED.context, NO_HINTS, say=silent)
    form = cache_form(target, None)
    built = build_profiles(opened, target, scheme, form, options, None, say=silent)
    record = describe(opened.decoder, built, form, WANTED, "profiles")
    found = quantize_profiles(built, record, target, scheme, options, say=silent)
    return held_caches(record, found.encodings), built, found.encodings


def logits(record, built):
    sessions = {name: Session(item.prepared.model, threads=1) for name, item in built.items()}
    return read(Driver(record, lambda profile, feeds: sessions[profile.name].run(feeds)))


def read(driver):
    return np.concatenate([driver.feed(TOKENS[:8]), *(driver.feed([token]) for token in TOKENS[8:])])


def noise(got, expected):
    return 10 * np.log10(np.square(expected).sum() / np.square(got - expected).sum())


def terms(model):
    """Return how far each normalization that makes a term goes."""
    made = {node.outputs[0].name: node for node in model.graph if is_op(node, "RMSNormalization")}
    return {name: float(made[name].inputs[1].const_value.numpy().max()) for name in ("p", "e")}


def test_profiles_divide_alike_and_come_closer_to_floats(path):
    expected = read(static_driver(path, WANTED, "new"))
    record, built, encodings = quantized(path)
    assert [rewrite.pass_name for rewrite in encodings.rewrites][:1] == ["fold-running-sum-scale"]
    assert {"s", "t"} <= set(encodings.precisions)
    prefill, decode = (holdings(built[name].prepared.model) for name in ("prefill", "decode"))
    common = prefill.keys() & decode.keys()
    assert {name: decode[name] for name in common} == {name: prefill[name] for name in common}
    scales = [terms(item.prepared.model) for item in built.values()]
    assert scales[0].keys() == {"p", "e"}
    assert scales[0] == scales[1]
    plain, others, _ = quantized(path, without=STEPS)
    better, worse = noise(logits(record, built), expected), noise(logits(plain, others), expected)
    assert better > worse + 10, (better, worse)


@pytest.mark.parametrize("scheme", ["w4", "w4a"])
def test_floats_of_16_bits_beside_weights_in_blocks_are_kept_from_overflowing(path, scheme):
    """The same integers as where nothing is divided, and in floats of 32 bits the same numbers."""
    record, built, encodings = quantized(path, scheme=scheme)
    assert [rewrite.pass_name for rewrite in encodings.rewrites] == ["fold-running-sum-scale"]
    far = [terms(item.prepared.model) for item in built.values()]
    assert far[0] == far[1]
    assert max(far[0].values()) < FAR
    for item in built.values():
        ops = [node.op_type for node in item.prepared.model.graph]
        assert ops.count("MatMulNBits") == 6
        assert ops.count("MatMul") == 1, "16 features are no block"
        assert "DequantizeLinear" not in ops
    wide, plain, others = quantized(path, scheme=scheme, without=STEPS)
    assert not others.rewrites
    np.testing.assert_allclose(logits(record, built), logits(wide, plain), rtol=1e-3, atol=1e-6)
