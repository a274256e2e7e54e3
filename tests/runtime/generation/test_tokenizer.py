"""Text becomes tokens of this model, and tokens become text as they come."""

import json
from pathlib import Path

import pytest

from npuopt.errors import InputError, ToolchainMissingError
from npuopt.runtime.generation.tokenizer import Tokenizer, require_known
from support.paths import EXAMPLES

FILE = EXAMPLES / "tiny_llama" / "tokenizer.json"


def changed(folder: Path, **tokens: int) -> Path:
    """Return a copy of the tokenizer with other special tokens."""
    document = json.loads(FILE.read_text())
    template = document["added_tokens"][0]
    replaced = set(tokens.values())
    vocabulary = document["model"]["vocab"]
    merged = {token for token, number in vocabulary.items() if number in replaced}
    vocabulary = {token: number for token, number in vocabulary.items() if token not in merged}
    document["model"]["vocab"] = {**vocabulary, **tokens}
    document["model"]["merges"] = [pair for pair in document["model"]["merges"] if not merged & {"".join(pair), *pair}]
    document["added_tokens"] = [{**template, "id": number, "content": name} for name, number in tokens.items()]
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("text", ["My fellow citizens", "héllo wörld ☃ 😀!", ""])
def test_a_stream_of_tokens_is_the_text(text) -> None:
    tokenizer = Tokenizer(FILE, 2048)
    stream = tokenizer.stream()
    assert (
        "".join(stream.feed(token) for token in tokenizer.encode(text))
        == text
        == tokenizer.decode(tokenizer.encode(text))
    )


def test_a_character_of_several_tokens_comes_whole() -> None:
    tokenizer = Tokenizer(FILE, 2048)
    stream = tokenizer.stream()
    pieces = [stream.feed(token) for token in tokenizer.encode("☃")]
    assert len(pieces) > 1
    assert pieces == [*[""] * (len(pieces) - 1), "☃"]


def test_a_stream_goes_on_after_a_prompt() -> None:
    tokenizer = Tokenizer(FILE, 2048)
    ids = tokenizer.encode("one two three")
    stream = tokenizer.stream(ids[:2])
    assert tokenizer.decode(ids[:2]) + "".join(map(stream.feed, ids[2:])) == "one two three"


@pytest.mark.parametrize("text", ["snow ☃ falls", "😀", "a" * 40 + "☃!"])
def test_a_stream_that_begins_within_a_character_ends_it_and_repeats_nothing(text) -> None:
    tokenizer = Tokenizer(FILE, 2048)
    ids = tokenizer.encode(text)
    for begun in range(len(ids) + 1):
        before, after = tokenizer.stream(), tokenizer.stream(ids[:begun])
        assert "".join(map(before.feed, ids[:begun])) + "".join(map(after.feed, ids[begun:])) == text


def test_special_tokens_have_no_text() -> None:
    assert Tokenizer(FILE, 2048).stream().feed(0) == ""


@pytest.mark.parametrize("vocabulary", [64, 1024, 32000])
def test_a_tokenizer_of_another_model(vocabulary) -> None:
    with pytest.raises(InputError, match=f"does not belong to a model with a vocabulary of {vocabulary}"):
        Tokenizer(FILE, vocabulary)


@pytest.mark.parametrize("vocabulary", [2047, 2048, 2560])
def test_padded_logits_and_a_token_for_images_are_no_mismatch(vocabulary) -> None:
    assert Tokenizer(FILE, vocabulary).end_tokens == {0}


def test_end_tokens_by_convention_and_by_configuration(tmp_path) -> None:
    path = changed(tmp_path, **{"<s>": 0, "</s>": 2046, "<stop>": 2047})
    assert Tokenizer(path, 2048).end_tokens == {2046}
    path.with_name("tokenizer_config.json").write_text('{"eos_token": {"content": "<stop>"}}')
    assert Tokenizer(path, 2048).end_tokens == {2046, 2047}


@pytest.mark.parametrize("configuration", ["", "[1]", '{"eos_token": 3}', '{"eos_token": "nowhere"}'])
def test_a_configuration_that_says_nothing(tmp_path, configuration) -> None:
    path = changed(tmp_path, **{"</s>": 2046})
    path.with_name("tokenizer_config.json").write_text(configuration)
    assert Tokenizer(path, 2048).end_tokens == {2046}


@pytest.mark.parametrize("content", ["", "{}", "[" * 50_000, "\0\1\2"])
def test_a_file_that_is_no_tokenizer(tmp_path, content) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is no tokenizer"):
        Tokenizer(path, 2048)


def test_no_file(tmp_path) -> None:
    with pytest.raises(InputError, match="no such tokenizer file"):
        Tokenizer(tmp_path / "tokenizer.json", 2048)


@pytest.mark.parametrize("number", [-1, 2048])
def test_ids_outside_the_vocabulary(number) -> None:
    with pytest.raises(InputError, match=f"token 1 has the id {number}, outside the model's vocabulary of 2048"):
        require_known([5, number], 2048)


def test_without_the_library(monkeypatch) -> None:
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr("npuopt.runtime.generation.tokenizer.import_module", refuse)
    with pytest.raises(ToolchainMissingError, match="pip install 'npuopt\\[generate\\]'"):
        Tokenizer(FILE, 2048)
