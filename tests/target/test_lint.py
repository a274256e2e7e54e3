from pathlib import Path

import pytest

from npuopt.errors import UsageError
from npuopt.target import list_targets
from npuopt.target.lint import lint
from npuopt.target.locate import roots


def check(tmp_path, text, name="chip.yaml", lowerings=None):
    file = tmp_path / name
    file.write_text(text)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in lint(file, lowerings)]


GOOD = """name: toy/chip
title: Toy
source: invented
delegate: {road: tvm, triple: none, cpu: none}
schemes: {fp32: {activation: float32}}
ops:
  Conv: {schemes: [fp32]}
"""


def test_a_good_file_has_no_problem(tmp_path):
    assert check(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  Conv:", "  Convv:", "chip.yaml:7:3: ops.Convv: ONNX has no op 'Convv' (did you mean 'Conv'?)"),
        ("Conv:", "ai.onnx.ml::Nope:", "chip.yaml:7:3: ops.ai.onnx.ml::Nope: ai.onnx.ml has no op 'Nope'"),
        (
            "Conv: {",
            "Conv: {lower: [lower-cnov], ",
            "lower[0]: there is no lowering 'lower-cnov' (did you mean 'lower-conv'?)",
        ),
        ("toy/chip", "toy/other", "chip.yaml:1:7: name: is 'toy/other' in a file called chip.yaml"),
        ("source: invented\n", "", "chip.yaml:6:3: ops.Conv: has no source: say where this is known from"),
        ("ops:", "performance: {clock_mhz: 5, source: ''}\nops:", "chip.yaml:6:1: performance: has no source"),
        (
            "{schemes: [fp32]}",
            "{schemes: [fp32], when: [{rank: input 0, min: 4}, {rank: input 1, max: 2}, {rank: input 0, max: 3}]}",
            "chip.yaml:7:84: ops.Conv.when[2]: nothing fits: at least 4 and at most 3",
        ),
        (
            "ops:\n  Conv: {",
            "shapes: {max_rank: 3}\nops:\n  Conv: {rank: [4, 5], ",
            "chip.yaml:8:16: ops.Conv.rank: nothing fits: rank 4 at least, and shapes.max_rank is 3",
        ),
    ],
)
def test_problems(tmp_path, old, new, expected):
    found = check(tmp_path, GOOD.replace(old, new), lowerings={"lower-conv"})
    assert any(expected in one for one in found), found


def test_a_family_may_leave_out_what_a_chip_must_say(tmp_path):
    family = "source: invented\nschemes: {fp32: {activation: float32}}\nops: {Convv: {schemes: [fp32]}}\n"
    assert check(tmp_path, family, "_family.yaml") == [
        "_family.yaml:3:7: ops.Convv: ONNX has no op 'Convv' (did you mean 'Conv'?)"
    ]


def test_an_unknown_target():
    with pytest.raises(UsageError):
        lint("toy/none")


FILES = sorted(path for root in roots() for path in root.rglob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_installed_descriptor_is_clean(file: Path):
    assert lint(file) == []


def test_every_installed_chip_has_its_vendors_folder():
    assert all("/" in name for name in list_targets())
