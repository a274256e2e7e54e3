import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.evaluate.token_samples import perplexity_samples
from npuopt.quantization.samples.inputs import InputSpec

IDS = InputSpec("input_ids", (1, None), np.dtype(np.int64))
TOKENS = np.arange(10)


def test_windows_with_what_else_the_model_takes():
    others = (
        InputSpec("attention_mask", (1, 4), np.dtype(np.int64)),
        InputSpec("position_ids", (1, 4), np.dtype(np.int64)),
        InputSpec("past", (None, 2, None, 8), np.dtype(np.float32)),
    )
    samples, targets = perplexity_samples((IDS, *others), TOKENS, 4)
    found = list(samples)
    assert [sample["input_ids"].tolist() for sample in found] == [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]
    assert targets.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert found[0]["attention_mask"].tolist() == [[1, 1, 1, 1]]
    assert found[0]["position_ids"].tolist() == [[0, 1, 2, 3]]
    assert found[0]["past"].shape == (1, 2, 0, 8)


def test_the_models_own_window_counts():
    frozen = InputSpec("input_ids", (1, 3), np.dtype(np.int32))
    samples, targets = perplexity_samples((frozen,), TOKENS, 128)
    assert targets.shape == (3, 3)
    assert next(samples)["input_ids"].dtype == np.int32


@pytest.mark.parametrize(
    ("inputs", "tokens", "why"),
    [
        ((), TOKENS, "has no input input_ids"),
        ((IDS, InputSpec("pixels", (1, 3), np.dtype(np.float32))), TOKENS, "input pixels is not known how to fill"),
        ((IDS,), TOKENS[None], "one axis of token ids"),
        ((IDS,), TOKENS.astype(np.float32), "one axis of token ids"),
        ((IDS,), -TOKENS, "one axis of token ids"),
        ((IDS,), TOKENS[:3], "too few"),
    ],
)
def test_what_is_no_text_for_this_model(inputs, tokens, why):
    with pytest.raises(InputError, match=why):
        perplexity_samples(inputs, tokens, 4)
