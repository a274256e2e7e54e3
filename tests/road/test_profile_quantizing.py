"""All profiles of a quantized decoder hold the same tensors the same way, above all the cache that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from npuopt.bundle import LanguageModelRecord
from npuopt.decoder import NO_HINTS
from npuopt.errors import InputError
from npuopt.graph import DataType, Session, static_shape
from npuopt.quantization import Encodings
from npuopt.quantization.assignment.profiles import carried_over, drift, holdings
from npuopt.quantization.encodings import per_tensor
from npuopt.road.built import Built
from npuopt.road.decoding import cache_form, open_decoder
from npuopt.road.driving import Driver
from npuopt.road.language_model import build_profiles
from npuopt.road.language_model_records import describe
from npuopt.road.options import CompileOptions, LanguageModelOptions, silent
from npuopt.road.profile_quantizing import held_caches, quantize_profiles, read_texts
from npuopt.target import load_target
from support.decoders import static_driver
from support.paths import ROOT
from support.rewrites import model_from

if TYPE_CHECKING:
    from pathlib import Path

TINY = ROOT / "examples" / "tiny_llama" / "model.onnx"
WANTED = LanguageModelOptions(context=64, chunk=16)


class Made(NamedTuple):
    record: LanguageModelRecord
    built: dict[str, Built]


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.npz"
    with np.load(TINY.with_name("calibration_prefill.npz")) as archive:
        np.savez(path, input_ids=archive["input_ids"][:6, :, :64])
    return path


def quantized(target_name: str, scheme: str, texts: Path | None) -> Made:
    target = load_target(target_name)
    opened = open_decoder(TINY, WANTED.context, NO_HINTS, say=silent)
    options = CompileOptions(calibration=texts, language_model=WANTED)
    form = cache_form(target, None)
    built = build_profiles(opened, target, scheme, form, options, None, say=silent)
    record = describe(opened.decoder, built, form, WANTED, "profiles")
    found = quantize_profiles(built, record, target, scheme, options, say=silent)
    return Made(held_caches(record, found.encodings), built)


@pytest.fixture(scope="module")
def made(texts) -> Made:
    return quantized("qualcomm/sm8750", "a16w8", texts)


def test_profiles_agree_on_every_tensor_that_they_share(made):
    """Read off the graphs themselves, not off the encodings that they were made with."""
    prefill, decode = (holdings(made.built[name].prepared.model) for name in ("prefill", "decode"))
    common = prefill.keys() & decode.keys()
    assert len(common) > 0.8 * len(decode)
    assert {name: decode[name] for name in common} == {name: prefill[name] for name in common}


def test_what_comes_out_of_the_cache_is_held_as_what_goes_in(made):
    for item in made.built.values():
        found = holdings(item.prepared.model)
        for cache in made.record.caches:
            taken = found[cache.input]
            assert taken == (cache.held_as.scale, cache.held_as.zero_point)
            given = next(value for value in item.prepared.model.graph.outputs if value.name == cache.output)
            dequantize = given.producer()
            assert float(dequantize.inputs[1].const_value.numpy()) == pytest.approx(taken[0][0], rel=0)


def test_weights_are_the_same_integers(made):
    prefill, decode = (made.built[name].prepared.model.graph.initializers for name in ("prefill", "decode"))
    large = [name for name in decode if np.prod(static_shape(decode[name]) or (0,)) >= 1024]
    assert len(large) >= 44
    for name in large:
        np.testing.assert_array_equal(decode[name].const_value.numpy(), prefill[name].const_value.numpy())


def test_perplexity_through_the_decode_path_is_that_of_float(made):
    """Of 48 tokens a text, all but the first 16 taken one by one."""
    ids = np.load(TINY.with_name("validation_ids.npy")).reshape(-1)[: 4 * 49].reshape(4, 49).tolist()
    losses = {"float": losses_of(static_driver(TINY, WANTED, "new"), ids), "a16w8": losses_of(driver_of(made), ids)}
    assert abs(losses["a16w8"] - losses["float"]) < 0.005, losses  # of the logarithm: half a per cent


def test_weights_of_four_bits_are_rounded_by_the_texts(texts):
    ids = np.load(TINY.with_name("validation_ids.npy")).reshape(-1)[: 4 * 49].reshape(4, 49).tolist()
    lost = {"float": losses_of(static_driver(TINY, WANTED, "new"), ids)}
    for name, data in (("texts", texts), ("none", None)):
        made = quantized("host/onnxruntime", "w4", data)
        prefill, decode = (made.built[name].prepared.model.graph.initializers for name in ("prefill", "decode"))
        held = [name for name in decode if decode[name].dtype == DataType.INT4]
        assert len(held) >= 44
        for weight in held:
            np.testing.assert_array_equal(decode[weight].const_value.numpy(), prefill[weight].const_value.numpy())
        lost[name] = losses_of(driver_of(made), ids)
    assert lost["texts"] - lost["float"] < 0.75 * (lost["none"] - lost["float"]), lost


def driver_of(made):
    sessions = {name: Session(item.prepared.model, threads=1) for name, item in made.built.items()}
    return Driver(made.record, lambda profile, feeds: sessions[profile.name].run(feeds))


def losses_of(driver, texts):
    lost = []
    for text in texts:
        driver.reset()
        logits = np.concatenate([driver.feed(text[:16]), *(driver.feed([token]) for token in text[16:48])])
        shifted = logits - logits.max(axis=-1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        lost.append(-log_probability[np.arange(48), text[1:49]])
    return float(np.mean(lost))


def test_drift_is_caught():
    one, other = per_tensor("uint8", 0.1, 0), per_tensor("uint8", 0.2, 0)
    first = Encodings(tensors={"past": one, "x": one})
    assert drift(first, Encodings(tensors={"past": other, "y": other})) == ["past"]
    assert not drift(first, Encodings(tensors={"past": one, "y": other}))


def test_what_only_one_profile_moves_is_held_as_what_it_moves():
    prefill = model_from("(float[1, 4] x) => (float[1, 4] y) { t = Relu(x) y = Neg(t) }")
    decode = model_from("""(float[1, 1] x) => (float[1, 1] y) <int64[2] to = {1, 1}>
        { t = Relu(x) r = Reshape(t, to) y = Neg(r) }""")
    held = {"x": per_tensor("uint8", 0.1, 0), "t": per_tensor("uint8", 0.2, 0), "y": per_tensor("uint8", 0.3, 9)}
    found = carried_over(Encodings(tensors=held), prefill, decode)
    assert found.tensors == {**held, "r": held["t"]}


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.array([[5, 2048]]), "token id 2048, outside the vocabulary of 2048"),
        (np.array([[5, -1]]), "token id -1"),
        (np.array([1, 2]), "not token ids"),
        (np.array([[0.5]]), "not token ids"),
    ],
)
def test_texts_that_are_no_tokens_of_the_model_are_refused(made, tmp_path, array, why):
    np.savez(tmp_path / "texts.npz", input_ids=array)
    with pytest.raises(InputError, match=why):
        read_texts(tmp_path / "texts.npz", made.record)
