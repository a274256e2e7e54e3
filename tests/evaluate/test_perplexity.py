import numpy as np
import onnxruntime as ort
import pytest

from npuopt.errors import InputError
from npuopt.evaluate import perplexity, token_losses, token_windows
from support.paths import EXAMPLES

LLAMA = EXAMPLES / "tiny_llama"


def test_windows_share_one_token_and_drop_the_rest() -> None:
    windows = token_windows(np.arange(9, dtype=np.uint16), window=3)
    assert windows.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]
    assert windows.dtype == np.int64


def test_a_text_without_a_last_target_is_too_short() -> None:
    with pytest.raises(InputError, match="too few"):
        token_windows(np.arange(128), window=128)


def test_loss_of_a_token_with_known_probability() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    losses = token_losses(logits + 1000.0, np.array([1, 2]))  # a constant added to all logits changes nothing
    np.testing.assert_allclose(losses, [np.log(4), np.log(1.25)], rtol=1e-9)


def test_a_model_that_knows_nothing_is_as_perplexed_as_there_are_tokens() -> None:
    tokens = np.random.default_rng(0).integers(0, 50, 65)
    assert perplexity(lambda ids: np.zeros((*ids.shape, 50), np.float32), tokens, window=16) == pytest.approx(50)


def test_position_i_is_scored_on_token_i_plus_1() -> None:
    tokens = np.arange(33) % 10

    def knows_what_follows(ids: np.ndarray) -> np.ndarray:
        return 100.0 * np.eye(10)[(ids + 1) % 10]

    assert perplexity(knows_what_follows, tokens, window=8, batch=3) == pytest.approx(1)
    assert perplexity(lambda ids: 100.0 * np.eye(10)[ids], tokens, window=8) > 1e6


def test_logits_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="2 windows of 8"):
        perplexity(lambda ids: np.zeros((len(ids), 1, 5)), np.zeros(17, np.int64), window=8, batch=2)


def test_the_bundled_language_model_is_as_good_as_its_readme_says() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(LLAMA / "model.onnx", options, providers=["CPUExecutionProvider"])

    def logits_of(ids: np.ndarray) -> np.ndarray:
        empty = np.zeros((len(ids), 2, 0, 32), np.float32)
        past = {f"past_{kind}_{layer}": empty for layer in range(6) for kind in "kv"}
        return session.run(["logits"], {"input_ids": ids, **past})[0]

    tokens = np.load(LLAMA / "validation_ids.npy", allow_pickle=False)
    assert perplexity(logits_of, tokens, batch=8) == pytest.approx(23.42, abs=0.005)
