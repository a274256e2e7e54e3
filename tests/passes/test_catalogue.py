"""What every pass of the catalogue must be and have, whichever pass it is."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re

import pytest

from npuopt.errors import UsageError
from npuopt.pipeline import Lowering, Pass
from npuopt.pipeline.catalogue import GROUPS, catalogue, describe, group_of, make_pass, summary, with_options
from npuopt.pipeline.recipes import CLEAN, FREEZE, FREEZE_DECODER, FUSE, LAYOUT, LEGALIZED, MOVE
from support.paths import ROOT

VERBS = ("fold", "fuse", "split", "lower", "freeze", "insert", "drop", "move")
FACTS = {"shapes-known", "shapes-static", "constants-folded"}
TEXT_TYPES = (str, int, float, bool)
"""Option types that the command line can give."""
KEEPS_ITS_OP = {
    "lower-boolean-data",
    "lower-cast-to-bool",
    "lower-conv-1d",
    "lower-conv-padding",
    "lower-dilation",
    "lower-double",
    "lower-elementwise-rank",
    "lower-grouped-conv",
    "lower-key-value-cache",
    "lower-large-kernel",
    "lower-large-pool",
    "lower-large-stride",
    "lower-matmul-rank",
    "lower-reduction-rank",
    "lower-matmul-vector",
    "lower-max-pool-3d",
    "lower-narrow-dequantize-linear",
    "lower-normalization-axis",
    "lower-pool-ceiling",
    "lower-power-to-reciprocal-roots",
    "lower-softmax-axis",
    "lower-strided-conv",
    "lower-transpose-rank",
    "lower-transpose-to-rank-4",
    "lower-unread-border",
    "lower-variadic-extremes",
    "lower-wide-indices",
    "lower-wide-integers",
}
"""Lowerings that change an op's rank, size, attributes or element type, and not what op it is."""

BUILT_IN = {name: found for name, found in catalogue().items() if group_of(found) in GROUPS}
every_pass = pytest.mark.parametrize("pass_type", BUILT_IN.values(), ids=BUILT_IN)


def test_the_catalogue_is_not_empty() -> None:
    assert {group_of(found) for found in BUILT_IN.values()} >= {"clean", "freeze", "fuse", "lower", "quantize"}


@every_pass
def test_is_a_frozen_record(pass_type: type[Pass]) -> None:
    assert dataclasses.is_dataclass(pass_type)
    assert pass_type.__dataclass_params__.frozen


@every_pass
def test_first_docstring_line_is_one_sentence(pass_type: type[Pass]) -> None:
    sentence = summary(pass_type)
    assert sentence == (inspect.getdoc(pass_type) or "").split("\n\n")[0], "the first line is followed by an empty one"
    assert re.fullmatch(r"[A-Z][^\n]*[^.!?\s]\.", sentence)
    assert ". " not in sentence


@every_pass
def test_documentation_says_what_is_left_alone(pass_type: type[Pass]) -> None:
    text = describe(pass_type)["documentation"]
    assert re.search(r"[Ll]eft alone|[Dd]eclined", text)


@every_pass
def test_name_class_and_file_say_the_same(pass_type: type[Pass]) -> None:
    assert pass_type.name.split("-")[0] in VERBS
    assert pass_type.__module__.rsplit(".", 1)[1] == pass_type.name.replace("-", "_")
    assert pass_type.__name__.lower() == pass_type.name.replace("-", "")


@every_pass
def test_facts_are_known(pass_type: type[Pass]) -> None:
    assert pass_type.needs | pass_type.gives | pass_type.breaks <= FACTS
    assert not pass_type.gives & pass_type.breaks


@every_pass
def test_options_have_defaults_and_survive_being_written_out(pass_type: type[Pass]) -> None:
    default = make_pass(pass_type.name)
    options = {field.name: getattr(default, field.name) for field in dataclasses.fields(pass_type) if field.init}
    assert with_options(pass_type, options) == default
    written = ",".join(f"{name}={value}" for name, value in options.items() if isinstance(value, TEXT_TYPES))
    assert make_pass(f"{pass_type.name}{{{written}}}") == default


@every_pass
def test_unknown_options_are_refused(pass_type: type[Pass]) -> None:
    with pytest.raises(UsageError, match="has no option 'colour'"):
        make_pass(f"{pass_type.name}{{colour=red}}")


@every_pass
def test_options_are_documented(pass_type: type[Pass]) -> None:
    text = describe(pass_type)["documentation"]
    missing = [option["name"] for option in describe(pass_type)["options"] if f"{option['name']}:" not in text]
    assert not missing, f"no line in the docstring's Attributes says what {missing} is"


@every_pass
def test_has_a_rewritten_and_a_declined_text_case(pass_type: type[Pass]) -> None:
    """A test file may say why it has no such case, in a line `# no assert_leaves: reason`."""
    path = ROOT / "tests" / "passes" / group_of(pass_type) / f"test_{pass_type.name.replace('-', '_')}.py"
    assert path.is_file(), f"{path.relative_to(ROOT)} is missing"
    source = path.read_text(encoding="utf-8")
    names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    assert pass_type.__name__ in names
    for helper in ("assert_rewrites", "assert_leaves"):
        assert helper in names or re.search(rf"^# no {helper}: \S+ \S+", source, re.MULTILINE), f"no {helper}"


@every_pass
def test_a_lowering_removes_what_it_takes(pass_type: type[Pass]) -> None:
    if not issubclass(pass_type, Lowering):
        assert group_of(pass_type) != "lower", "a pass in lower/ is a Lowering, or the driver does not find it"
        return
    assert pass_type.op_types
    assert pass_type.produces
    if pass_type.name not in KEEPS_ITS_OP:
        assert not set(pass_type.op_types) & pass_type.produces


def test_the_standard_order_names_passes_that_exist_in_the_right_groups() -> None:
    groups = {"clean": CLEAN, "freeze": FREEZE, "fuse": (*FUSE, *LEGALIZED), "layout": LAYOUT, "move": MOVE}
    for group, names in groups.items():
        missing = [name for name in names if name not in BUILT_IN]
        assert not missing, f"the standard order names {missing}, which the catalogue lacks"
        assert {group_of(BUILT_IN[name]) for name in names} == {group}
        assert len(set(names)) == len(names)


def test_every_clean_and_fuse_pass_has_its_place_in_the_standard_order() -> None:
    placed = {*CLEAN, *FREEZE, *FREEZE_DECODER, *FUSE, *LAYOUT, *LEGALIZED}
    unused = [name for name, found in BUILT_IN.items() if group_of(found) in ("clean", "freeze", "fuse", "layout")]
    assert not set(unused) - placed, "nothing runs these"
