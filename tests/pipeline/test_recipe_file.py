"""Recipes: what they may say, and how each mistake is reported."""

import re

import pytest

from npuopt.errors import InputError
from npuopt.passes.clean.drop_unused_nodes import DropUnusedNodes
from npuopt.passes.clean.fold_constants import FoldConstants
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.pipeline.recipe import Late
from npuopt.pipeline.recipe_file import read_recipe
from npuopt.pipeline.recipes import CLEAN
from support.command import npuopt
from support.paths import EXAMPLES

WHOLE = """
target: qualcomm/sm8750
dims: {batch: 1}
options: {fold-constants: {growth_mib: 4}}
without: [fuse-gelu, drop-identities]
passes:
  - repeat: [clean]
  - freeze
  - freeze-dims: {dims: {"x:0": 3}}
  - fold-constants
  - "fold-constants{growth_mib=2}"
  - repeat: [fuse, drop-unused-nodes]
  - legalize
"""


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_whole_recipe(recipe):
    read = read_recipe(recipe(WHOLE))
    assert (read.target, read.dims) == ("qualcomm/sm8750", {"batch": 1})
    clean, *single, fuse, legalize = read.rounds
    assert [item.name for item in clean.items] == [name for name in CLEAN if name != "drop-identities"]
    assert FoldConstants(4) in clean.items
    assert [item for each in single for item in each.items] == [
        Late.FREEZE,
        FreezeDims((("x:0", 3),)),
        FoldConstants(4),
        FoldConstants(2),
    ]
    assert fuse.items == (Late.FUSE, DropUnusedNodes())
    assert [each.repeated for each in read.rounds] == [True, False, False, False, False, True, False]
    assert legalize.items == (Late.LEGALIZE,)


def test_without_passes_the_standard_order_is_adjusted(recipe):
    read = read_recipe(recipe("without: [fuse-gelu]\noptions:\n  fold-constants: {growth_mib: 1}\n"))
    assert read.rounds is None
    assert read.choice.make(["fuse-gelu", "fold-constants"]) == [FoldConstants(1)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("passes: [fold-constant]", "1:10: passes[0]: there is no pass called 'fold-constant' (did you mean 'fold-con"),
        ("passes:\n- cleen", "2:3: passes[0]: there is no pass called 'cleen' (did you mean 'clean'?)"),
        ("passes:\n- repeat: [clean, fyse]", "2:19: passes[0].repeat[1]: there is no pass called 'fyse' (did you"),
        ("passes:\n- repeat: clean", "2:3: passes[0].repeat: must be a list of passes"),
        ("passes:\n- 3", "2:3: passes[0]: must be a pass, a pass with its options"),
        (
            "passes:\n- fold-constants: {growth: 3}",
            "2:3: passes[0].fold-constants: pass fold-constants has no option 'growth'; did you mean growth_mib?",
        ),
        ("passes:\n- fold-constants{growth_mib=much}", "2:3: passes[0]: 'much' does not fit option 'growth_mib'"),
        ("options:\n  fold-constants: {growth_mib: much}", "2:3: options.fold-constants: 'much' does not fit option"),
        ("options:\n  fold-konstants: {}", "2:3: options.fold-konstants: there is no pass called 'fold-konstants'"),
        ("without: [fuse-gelo]", "1:11: without[0]: 'fuse-gelo' is no pass of the standard order (did you mean 'fuse-"),
        ("dims: {batch: -1}", "1:8: dims.batch: no dim has the size -1"),
        ("dims: {batch: one}", "1:15: dims.batch: must be a whole number, not 'one'"),
        ("pases: []", "1:1: pases: unknown key (did you mean 'passes'?)"),
        ("passes: clean", "1:9: passes: must be a list, not 'clean'"),
        ("", "1:1: the file is empty"),
        ("passes: &a [clean]", "anchors are not allowed"),
        ("passes: [", "not YAML"),
    ],
)
def test_mistakes_are_named_with_their_place(recipe, text, complaint):
    path = recipe(text)
    with pytest.raises(InputError, match=re.escape(complaint)) as raised:
        read_recipe(path)
    assert str(raised.value).startswith(str(path))


def test_all_mistakes_are_reported_at_once(recipe):
    with pytest.raises(InputError, match="2 problems in the recipe") as raised:
        read_recipe(recipe("without: [a]\npasses: [b]"))
    assert len(str(raised.value).splitlines()) == 3


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_recipe(tmp_path / "none.yaml")


def test_the_recipe_that_ships_as_an_example_is_right(tmp_path):
    """It is what `--recipe` is shown with."""
    done = npuopt(
        *("optimize", EXAMPLES / "fashion_mnist" / "model.onnx", "-o", tmp_path / "o.onnx"),
        *("--recipe", EXAMPLES / "recipe.yaml"),
    )
    assert done.returncode == 0, done.stderr
