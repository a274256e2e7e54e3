"""Caches of integers: every profile takes and gives them in one way, and text comes out as it did."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from npuopt.bundle import HeldAs, LanguageModelRecord
from npuopt.decoder import NO_HINTS
from npuopt.errors import InternalError, UsageError
from npuopt.graph import DataType, Editor, Session, element_type
from npuopt.road.built import Built
from npuopt.road.cache_holding import hold_caches, require_alike, seen_encodings
from npuopt.road.decoding import open_decoder
from npuopt.road.driving import Driver
from npuopt.road.language_model import build_profiles
from npuopt.road.language_model_records import describe
from npuopt.road.options import CompileOptions, LanguageModelOptions, silent
from npuopt.runtime.generation.caches import bytes_per_token
from npuopt.target import load_target
from support.paths import ROOT

TINY = ROOT / "examples" / "tiny_llama" / "model.onnx"
FORMS = ("new", "in-place", "whole")


class Made(NamedTuple):
    record: LanguageModelRecord
    built: dict[str, Built]
    options: CompileOptions
    floats: dict[str, object]


def logits(made: Made, models: dict[str, object], ids: list[int]) -> np.ndarray:
    sessions = {name: Session(model, threads=1) for name, model in models.items()}
    driver = Driver(made.record, lambda profile, feeds: sessions[profile.name].run(feeds))
    return np.concatenate([driver.feed(ids[:16]), *(driver.feed([token]) for token in ids[16:])])


@pytest.fixture(scope="module", params=FORMS)
def made(request, tmp_path_factory) -> Made:
    texts = tmp_path_factory.mktemp("texts") / "texts.npz"
    with np.load(TINY.with_name("calibration_prefill.npz")) as archive:
        np.savez(texts, input_ids=archive["input_ids"][:6, :, :32])
    wanted = LanguageModelOptions(context=32, chunk=16, form=request.param, cache_type="int8")
    target, options = load_target("host/onnxruntime"), CompileOptions(calibration=texts, language_model=wanted)
    opened = open_decoder(TINY, wanted.context, NO_HINTS, say=silent)
    built = build_profiles(opened, target, "fp32", request.param, options, None, say=silent)
    record = describe(opened.decoder, built, request.param, wanted, "profiles")
    floats = {name: item.prepared.model.clone() for name, item in built.items()}
    return Made(hold_caches(built, record, options, say=silent), built, options, floats)


def test_logits_stay_what_they_were(made) -> None:
    ids = np.load(TINY.with_name("validation_ids.npy"))[:24].astype(int).tolist()
    got = logits(made, {name: item.prepared.model for name, item in made.built.items()}, ids)
    expected = logits(made._replace(record=as_float(made.record)), made.floats, ids)
    cosines = (got * expected).sum(-1) / np.linalg.norm(got, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert cosines.min() > 0.999


def as_float(record: LanguageModelRecord) -> LanguageModelRecord:
    caches = [cache.model_copy(update={"dtype": "float32", "held_as": None}) for cache in record.caches]
    return record.model_copy(update={"caches": tuple(caches)})


def test_caches_are_integers_at_the_border_and_take_a_quarter(made) -> None:
    for item in made.built.values():
        inputs = {value.name: element_type(value) for value in item.prepared.model.graph.inputs}
        assert {inputs[cache.input] for cache in made.record.caches} == {DataType.UINT8}
    assert bytes_per_token(made.record) * 4 == bytes_per_token(as_float(made.record))


def test_drift_between_profiles_is_seen_in_the_graphs_themselves(made) -> None:
    models = {name: item.prepared.model.clone() for name, item in made.built.items()}
    require_alike(made.record, models)
    scale = next(value for name, value in models["decode"].graph.initializers.items() if "past_v_3/cache_scale" in name)
    Editor(models["decode"]).refill(scale, np.nextafter(scale.const_value.numpy(), np.float32(1)))
    with pytest.raises(InternalError, match="profile decode holds the cache past_v_3 in another way"):
        require_alike(made.record, models)


@pytest.mark.parametrize(("scales", "count"), [("tensor", 1), ("head", 2), ("channel", 32)])
def test_scales_are_of_the_cache_or_of_its_parts(made, scales, count) -> None:
    found = seen_encodings(made.floats["prefill"], as_float(made.record), made.options.calibration, "uint16", scales)
    assert {len(held.scale) for held in found.values()} == {count}
    widest = max(held.range[1] for held in found.values())
    assert 4 < widest < 12, "of a key"


def test_ranges_need_texts(made) -> None:
    without = replace(made.options, calibration=None)
    with pytest.raises(UsageError, match="ranges of an integer cache are seen on texts"):
        hold_caches(made.built, as_float(made.record), without, say=silent)


def test_more_bits_than_the_graphs_compute_with_are_refused(made) -> None:
    held = HeldAs(dtype="uint8", scale=(0.1,), zero_point=(3,))
    caches = tuple(cache.model_copy(update={"held_as": held}) for cache in as_float(made.record).caches)
    wanted = replace(made.options.language_model, cache_type="int16")
    with pytest.raises(UsageError, match="nothing is gained by uint16"):
        hold_caches(
            made.built,
            made.record.model_copy(update={"caches": caches}),
            replace(made.options, language_model=wanted),
            say=silent,
        )
