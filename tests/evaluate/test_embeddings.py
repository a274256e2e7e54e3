import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.evaluate import cosine_similarities, sentence_embeddings


def test_padding_has_no_say_in_the_embedding() -> None:
    hidden = np.array([[[3.0, 0.0], [0.0, 4.0], [99.0, -99.0]]], np.float32)
    embedding = sentence_embeddings(hidden, np.array([[1, 1, 0]]))
    np.testing.assert_allclose(embedding, [[0.6, 0.8]])


def test_embeddings_have_length_one() -> None:
    hidden = np.random.default_rng(0).normal(size=(5, 7, 16))
    lengths = np.linalg.norm(sentence_embeddings(hidden, np.ones((5, 7), np.int64)), axis=1)
    np.testing.assert_allclose(lengths, 1)


def test_a_sentence_without_tokens_is_an_error() -> None:
    with pytest.raises(InputError, match="sentence 1 has no token"):
        sentence_embeddings(np.ones((2, 2, 3)), np.array([[1, 0], [0, 0]]))


def test_a_mask_of_another_shape_is_an_error() -> None:
    with pytest.raises(InputError, match="mask of shape"):
        sentence_embeddings(np.ones((2, 2, 3)), np.ones((2, 3), np.int64))


def test_cosines_of_known_angles() -> None:
    first = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    second = np.array([[5.0, 0.0], [1.0, 0.0], [-3.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(cosine_similarities(first, second), [1, np.sqrt(0.5), -1, 0])


def test_cosines_need_pairs() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        cosine_similarities(np.ones((2, 3)), np.ones((3, 3)))
