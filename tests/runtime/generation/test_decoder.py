"""Reading a text in chunks and single tokens, over any cache form, computes what the model computes without a cache."""

import numpy as np
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.runtime.generation.decoder import CachedDecoder
from npuopt.runtime.generation.engines import CpuEngine
from support.toy_decoder import CHUNK, CONTEXT, Weights, record, write_artifact

FORMS = ("new", "in-place", "whole")
TEXT = [int(token) for token in np.random.default_rng(1).integers(0, 2048, CONTEXT)]


@pytest.fixture(scope="module", params=FORMS)
def form(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(form, tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp(form) / "artifact", form)


@pytest.fixture
def decoder(folder, form) -> CachedDecoder:
    return CachedDecoder(record(form), CpuEngine(folder, threads=1))


@pytest.mark.parametrize("parts", [[24], [1] * 24, [4, 4, 16], [7, 5, 12], [1, 9, 3, 2, 9], [3], [23, 1], [21, 3]])
def test_any_way_to_read_gives_the_models_logits(decoder, parts) -> None:
    expected = Weights.drawn().logits(TEXT)
    read = 0
    for part in parts:
        logits = decoder.read(TEXT[read : read + part])
        read += part
        assert decoder.length == read
        np.testing.assert_allclose(logits, expected[read - 1], atol=1e-4)


@pytest.mark.parametrize("profile", ["decode", "prefill", None])
def test_every_tokens_logits_by_one_profile(decoder, profile) -> None:
    np.testing.assert_allclose(decoder.read_all(TEXT, profile), Weights.drawn().logits(TEXT), atol=1e-4)


def test_what_is_forgotten_leaves_no_trace(decoder) -> None:
    decoder.read(TEXT[:13])
    decoder.forget()
    np.testing.assert_allclose(decoder.read(TEXT[13:]), Weights.drawn().logits(TEXT[13:])[-1], atol=1e-4)


def test_a_long_prompt_takes_few_runs(folder, form) -> None:
    class Counting(CpuEngine):
        runs = ()

        def run(self, profile, feeds, outputs=None):
            made = super().run(profile, feeds, outputs)
            self.runs = (*self.runs, (profile.name, "logits" in made))
            return made

    engine = Counting(folder, threads=1)
    CachedDecoder(record(form), engine).read(TEXT[:18])
    assert engine.runs == (("prefill", False),) * 4 + (("prefill", True),), "logits of the last run only"


def test_logits_of_the_last_token_only(form, tmp_path) -> None:
    folder = write_artifact(tmp_path / "artifact", form, logits="last")
    decoder = CachedDecoder(record(form, logits="last"), CpuEngine(folder, threads=1))
    np.testing.assert_allclose(decoder.read(TEXT[:7]), Weights.drawn().logits(TEXT[:7])[-1], atol=1e-4)
    with pytest.raises(UsageError, match="logits of the last token only"):
        decoder.read_all(TEXT[:7], "prefill")


def test_tokens_that_do_not_fit(decoder) -> None:
    decoder.read(TEXT[:20])
    with pytest.raises(InputError, match="5 tokens after 20 do not fit a context of 24"):
        decoder.read(TEXT[:5])
    assert decoder.length == 20
    decoder.read(TEXT[20:])


@pytest.mark.parametrize("tokens", [[], [2048], [-1]])
def test_tokens_that_are_none(decoder, tokens) -> None:
    with pytest.raises(InputError):
        decoder.read(tokens)


def test_a_profile_that_is_not_there(decoder) -> None:
    with pytest.raises(UsageError, match="no profile 'draft'; it has prefill, decode"):
        decoder.read_all(TEXT, "draft")


def test_a_chunk_alone_cannot_read_the_rest_of_a_moving_cache(tmp_path) -> None:
    folder = write_artifact(tmp_path / "artifact", "whole", chunks=(CHUNK,))
    decoder = CachedDecoder(record("whole", chunks=(CHUNK,)), CpuEngine(folder, threads=1))
    decoder.read(TEXT[:6])  # padding lies ahead of the first tokens
    with pytest.raises(InputError, match="2 tokens after 6 cannot be read in chunks of 4; compile a decode profile"):
        decoder.read(TEXT[6:8])


def test_outputs_of_another_shape(folder, form) -> None:
    class Damaged(CpuEngine):
        def run(self, profile, feeds, outputs=None):
            outputs = super().run(profile, feeds, outputs)
            return {**outputs, "present_value_1": outputs["present_value_1"][:, :, :, :-1]}

    decoder = CachedDecoder(record(form), Damaged(folder, threads=1))
    with pytest.raises(InputError, match="output present_value_1 is"):
        decoder.read(TEXT[:3])
    assert decoder.length == 0


def test_a_draft_is_checked_in_one_run_and_taken_back_where_it_is_wrong(decoder, form) -> None:
    """The wider a run, the more places a window's cache has to go back over, but for those of the form `new`."""
    decoder.read(TEXT[:12])
    if form == "whole":
        with pytest.raises(UsageError, match="form whole cannot go back"):
            decoder.rewind(11)
        return
    kept = 3 if form == "new" else 1
    draft = [*TEXT[12 : 12 + kept], *[7] * (CHUNK - kept)]
    logits = decoder.read_all(draft, "prefill")
    expected = Weights.drawn().logits(TEXT)
    np.testing.assert_allclose(logits[:kept], expected[12 : 12 + kept], atol=1e-4)
    decoder.rewind(12 + kept)
    assert decoder.length == 12 + kept
    np.testing.assert_allclose(decoder.read_all(TEXT[12 + kept :]), expected[12 + kept :], atol=1e-4)


def test_going_back_too_far_changes_nothing(decoder, form) -> None:
    decoder.read(TEXT[:20])
    for length, words in ((21, "21 tokens are to stay of 20"), (3, "cannot go back")):
        with pytest.raises(UsageError, match=words):
            decoder.rewind(length)
    decoder.rewind(20)
    np.testing.assert_allclose(decoder.read(TEXT[20:]), Weights.drawn().logits(TEXT)[-1], atol=1e-4)
