"""Passes are found by looking, made from text, and brought along in files and plug-ins."""

from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

from npuopt.errors import InputError, UsageError
from npuopt.passes.clean.fold_constants import FoldConstants
from npuopt.pipeline import Pass, Report
from npuopt.pipeline import catalogue as room
from npuopt.pipeline.catalogue import (
    catalogue,
    describe,
    find_pass,
    group_of,
    load_pass_file,
    make_pass,
    summary,
    with_options,
)


@dataclass(frozen=True)
class DropNothing(Pass):
    """Nothing is dropped, politely.

    Attributes:
        times: how often.
        politely: whether to ask first.
        names: of what to keep.
    """

    name: ClassVar = "drop-nothing"
    needs: ClassVar = frozenset({"shapes-known"})

    times: int = 1
    politely: bool = True
    names: tuple[str, ...] = field(default_factory=tuple)

    def __call__(self, model, target=None):
        return Report(self.name)


OWN = {"drop-nothing": DropNothing}
OWN_FILE = '''
from dataclasses import dataclass
from typing import ClassVar
from npuopt.pipeline import Pass, Report

@dataclass(frozen=True)
class Mine(Pass):
    """Mine does nothing."""
    name: ClassVar = "NAME"
    def __call__(self, model, target=None):
        return Report(self.name)
'''


@pytest.fixture
def plug_in(monkeypatch):
    """Offer one entry point of the group npuopt.passes."""

    def offer(value: str) -> None:
        entry = EntryPoint("mine", value, "npuopt.passes")
        monkeypatch.setattr(room, "entry_points", lambda group: [entry])
        monkeypatch.setattr(room, "catalogue", catalogue.__wrapped__)

    return offer


def test_passes_are_known_by_name_and_group():
    assert catalogue()["fold-constants"] is FoldConstants
    assert group_of(FoldConstants) == "clean"
    assert group_of(DropNothing) == "plug-in"


def test_a_misspelt_name_gets_suggestions():
    with pytest.raises(UsageError, match=r"no pass called 'fold-constant'; did you mean fold-constants"):
        find_pass("fold-constant")
    with pytest.raises(UsageError, match=r"see `npuopt passes list`"):
        find_pass("zzzzzz")


def test_options_are_read_from_text():
    assert make_pass("drop-nothing", extra=OWN) == DropNothing()
    assert make_pass(" drop-nothing{times=3, politely=false} ", extra=OWN) == DropNothing(3, politely=False)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is no pass"),
        ("Drop Nothing", "is no pass"),
        ("drop-nothing{times=3", "is no pass"),
        ("drop-nothing{times}", "'times' in .* is no option; write it as name=value"),
        ("drop-nothing{time=3}", "has no option 'time'; did you mean times\\? its options: times, politely, names"),
        ("drop-nothing{times=often}", "'often' does not fit option 'times' of drop-nothing"),
    ],
)
def test_text_that_is_no_pass(text, complaint):
    with pytest.raises(UsageError, match=complaint):
        make_pass(text, extra=OWN)


def test_options_given_as_values_are_converted_or_refused():
    assert with_options(DropNothing, {"times": "2", "names": ["a"]}) == DropNothing(2, names=("a",))
    with pytest.raises(UsageError, match="does not fit option 'names'"):
        with_options(DropNothing, {"names": 3})


def test_a_pass_describes_itself():
    described = describe(DropNothing)
    assert (described["name"], described["summary"]) == ("drop-nothing", "Nothing is dropped, politely.")
    assert described["needs"] == ["shapes-known"]
    assert [(option["name"], option["default"]) for option in described["options"]] == [
        ("times", "1"),
        ("politely", "True"),
        ("names", "()"),
    ]
    assert summary(DropNothing) == described["summary"]


def test_a_pass_file_brings_its_own_passes(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(OWN_FILE.replace("NAME", "drop-mine"))
    found = load_pass_file(path)
    assert list(found) == ["drop-mine"]
    assert make_pass("drop-mine", extra=found).name == "drop-mine"
    assert "drop-mine" not in catalogue()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", "holds no pass"),
        ("from npuopt.pipeline import Pass, Lowering, NodePass", "holds no pass"),
        ("1 / 0", "does not import: ZeroDivisionError: division by zero"),
        ("def", "does not import: SyntaxError"),
        ("import no_such_module_at_all", "does not import: ModuleNotFoundError"),
    ],
)
def test_a_pass_file_that_is_none(tmp_path: Path, source, complaint):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(InputError, match=complaint) as caught:
        load_pass_file(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("name", ["missing.py", "folder.py", "text.txt"])
def test_a_pass_file_that_cannot_be_imported_at_all(tmp_path: Path, name):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(InputError, match="is no Python file"):
        load_pass_file(tmp_path / name)


def test_a_pass_file_with_the_same_name_twice(tmp_path: Path):
    path = tmp_path / "mine.py"
    path.write_text(OWN_FILE.replace("NAME", "drop-mine") + OWN_FILE.replace("Mine(", "Other("))
    text = path.read_text().replace("NAME", "drop-mine")
    path.write_text(text)
    with pytest.raises(InputError, match="two passes are called drop-mine"):
        load_pass_file(path)


def test_a_plug_in_joins_the_catalogue(plug_in):
    plug_in(f"{__name__}:DropNothing")
    assert room.catalogue()["drop-nothing"].__name__ == "DropNothing"


@pytest.mark.parametrize("value", ["json:loads", "json"])
def test_a_plug_in_that_is_no_pass(plug_in, value):
    plug_in(value)
    with pytest.raises(InputError, match=rf"plug-in {value}: is not a pass"):
        room.catalogue()


@pytest.mark.parametrize("value", ["no_such_module_at_all:X", "json:no_such_name"])
def test_a_plug_in_that_does_not_load(plug_in, value):
    plug_in(value)
    with pytest.raises(InputError, match="does not import"):
        room.catalogue()
