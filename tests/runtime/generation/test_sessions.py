"""A conversation kept in a file goes on as if it had never stopped, and a file of something else does not."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.runtime import GenerateOptions, open_generator, restore_session, save_session
from npuopt.runtime.generation.generator import Generator
from support.toy_decoder import write_artifact

PROMPT = [45, 89, 707, 1016, 807]
OPTIONS = GenerateOptions(max_tokens=4, past_end=True)


@pytest.fixture(scope="module", params=["new", "in-place", "whole"])
def folder(request, tmp_path_factory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("toy") / "artifact", request.param)


@pytest.fixture
def session(folder, tmp_path) -> Path:
    generator = open_generator(folder, threads=1)
    list(generator.generate(PROMPT, OPTIONS))
    save_session(generator, tmp_path / "session.npz")
    return tmp_path / "session.npz"


def said(generator: Generator, prompt: list[int]) -> list[int | None]:
    return [piece.token for piece in generator.generate(prompt, OPTIONS)]


def rewrite(path: Path, change) -> None:
    """Write a session anew with members changed by `change(name, content)`; None drops one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: change(name, archive.read(name)) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def edit_header(path: Path, **changes) -> None:
    def change(name: str, content: bytes) -> bytes:
        return json.dumps({**json.loads(content), **changes}).encode() if name == "session.json" else content

    rewrite(path, change)


def test_a_conversation_goes_on(folder, session) -> None:
    unbroken, restored = open_generator(folder, threads=1), open_generator(folder, threads=1)
    said(unbroken, PROMPT)
    restore_session(restored, session)
    assert said(restored, [7, 8]) == said(unbroken, [7, 8])
    assert restored.tokens == unbroken.tokens


def test_of_another_artifact(folder, session, tmp_path) -> None:
    form = open_generator(folder).decoder.record.cache_form
    other = open_generator(write_artifact(tmp_path / "other", form, seed=1))
    with pytest.raises(InputError, match="is a session of another artifact"):
        restore_session(other, session)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_cut_short(folder, session, kept) -> None:
    content = session.read_bytes()
    session.write_bytes(content[: int(len(content) * kept)])
    generator = open_generator(folder)
    with pytest.raises(InputError, match="is no session, or a damaged one"):
        restore_session(generator, session)
    assert generator.tokens == []
    assert generator.decoder.length == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "npuopt-session/9"}, "another version"),
        ({"length": 99}, "holds 99 tokens"),
        ({"length": -1}, "another version"),
        ({"tokens": [5, 4096, 3, 3, 3, 3, 3, 3, 3]}, "outside the model's vocabulary"),
        ({"length": 2}, "places tokens that it does not hold"),
        ({"adapter": "x"}, "another adapter"),
        ({"unknown": 1}, "another version"),
    ],
)
def test_a_header_that_does_not_fit(folder, session, change, words) -> None:
    edit_header(session, **change)
    with pytest.raises(InputError, match=words):
        restore_session(open_generator(folder), session)


def npy(array: np.ndarray, path: Path) -> bytes:
    np.save(path, array, allow_pickle=True)
    return path.read_bytes()


def test_arrays_that_do_not_fit(folder, session, tmp_path) -> None:
    with np.load(session) as arrays:
        held = arrays["cache/past_key_0"]
    bad = {
        "is damaged|is a damaged": npy(held[:, :, :-1], tmp_path / "a.npy"),
        "not float32": npy(held.astype(np.float64), tmp_path / "a.npy"),
        "NaN": npy(np.full_like(held, np.nan), tmp_path / "a.npy"),
        "damaged": npy(np.array([{}]), tmp_path / "a.npy"),
        "no item named|is no session": None,
    }
    original = session.read_bytes()
    for words, content in bad.items():
        session.write_bytes(original)
        rewrite(session, lambda name, old, new=content: new if name == "cache/past_key_0.npy" else old)
        with pytest.raises(InputError, match=words):
            restore_session(open_generator(folder), session)


def test_no_file_and_no_folder(folder, tmp_path) -> None:
    generator = open_generator(folder)
    with pytest.raises(InputError, match="there is no such file"):
        restore_session(generator, tmp_path / "none.npz")
    with pytest.raises(Exception, match="cannot be written"):
        save_session(generator, tmp_path / "none" / "session.npz")
