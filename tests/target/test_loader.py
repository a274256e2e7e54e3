from typing import get_args

import pytest

from npuopt.errors import InputError, UsageError
from npuopt.target import DescriptorError, list_targets, load_target, parse_target
from npuopt.target.roads import Delegate
from npuopt.target.schema import Descriptor
from npuopt.target.target import Target
from support.descriptors import HEAD, SCHEMES, target_with

FAMILY = """source: family source
delegate: {road: qnn, soc_model: 1, arch: v1, vtcm_mib: 2}
schemes:
  fp16: {activation: float16}
  a8w8: {activation: uint8, weight: int8}
ops:
  Conv: {schemes: [fp16, a8w8], rank: [3, 5]}
  Gelu: {schemes: [fp16]}
  Relu: {schemes: [a8w8]}
"""


def errors(text):
    with pytest.raises(DescriptorError) as caught:
        parse_target(text)
    return [str(problem) for problem in caught.value.problems]


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_every_problem_at_once_each_with_position_and_suggestion():
    text = """name: toy/chip
titel: Toy
delegate: {road: tvx, triple: x, cpu: z}
shapes: {max_rnk: 5}
schemes:
  fp16: {activation: flot16}
ops:
  Conv: {schemes: 3, quantization: {outputs: {}}, when: [{attribut: group, equal: 1}, {rank: input 0, mn: 2}]}
  Relu: {schemes: [fp16], when: [{rank: input, min: 5}, {attribute: a}, {rank: input 0, min: 5, max: 3}]}
"""
    roads = [get_args(model.model_fields["road"].annotation)[0] for model in get_args(get_args(Delegate)[0])]
    assert errors(text) == [
        "descriptor.yaml:1:1: title: is missing",
        "descriptor.yaml:2:1: titel: unknown key (did you mean 'title'?)",
        f"descriptor.yaml:3:11: delegate: 'road' 'tvx' is not one of {', '.join(roads)} (did you mean 'tvm'?)",
        "descriptor.yaml:4:10: shapes.max_rnk: unknown key (did you mean 'max_rank'?)",
        (
            "descriptor.yaml:6:22: schemes.fp16.activation: 'flot16' is not one of float64, float32, float16, "
            "bfloat16, float8e4m3fn, float8e5m2, float4e2m1, int64, int32, int16, int8, int4, int2, uint64, uint32, "
            "uint16, uint8, uint4, uint2, bool, string (did you mean 'float16'?)"
        ),
        "descriptor.yaml:8:19: ops.Conv.schemes: must be a list, not 3",
        "descriptor.yaml:8:37: ops.Conv.quantization.outputs: unknown key (did you mean 'output'?)",
        (
            "descriptor.yaml:8:58: ops.Conv.when[0]: no key says the kind of condition, one of attribute, value, rank, "
            "dimension, product, count, axis_from_end, dtype, static, constant, variable, present, absent, predicate "
            "(did you mean 'attribute'?)"
        ),
        "descriptor.yaml:8:103: ops.Conv.when[1].mn: unknown key (did you mean 'min'?)",
        "descriptor.yaml:9:41: ops.Relu.when[0].rank: say 'input 0', 'output 0', 'inputs' or 'outputs'",
        "descriptor.yaml:9:57: ops.Relu.when[1]: a bound is missing: one of min, max, multiple_of, one_of, equal",
        "descriptor.yaml:9:73: ops.Relu.when[2]: nothing fits: min 5 is above max 3",
    ]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{schemes: [fp17]}", "ops.Relu.schemes[0]: no scheme 'fp17' (did you mean 'fp16'?)"),
        ("{schemes: [fp16], when: [{predicate: padding-is-symetric}]}", "no predicate 'padding-is-symetric' (did you"),
        (
            "{schemes: [fp16], quantization: {activation: {a4: uint8}}}",
            "ops.Relu.quantization.activation.a4: no scheme",
        ),
        ("{schemes: [fp16], when: [{rank: input 0, min: 1, if: {rank: inpt 1, min: 2}}]}", "when[0].if.rank: say"),
        ("{schemes: [fp16], when: [{rank: input 0, min: 1, schemes: [x]}]}", "ops.Relu.when[0].schemes[0]: no scheme"),
        ("{}", "ops.Relu: takes nothing: give schemes, dtypes or refused"),
        ("{refused: no, schemes: [fp16]}", "'no' is a word or a truth value"),
        ("{refused: never, schemes: [fp16]}", "a refused op has no schemes, dtypes or conditions"),
        ("{schemes: [fp16], rank: [5, 3]}", "nothing fits: rank 5 to 3"),
        ("{schemes: [fp16], rank: [1, 2, 3]}", "ops.Relu.rank"),
        ("{schemes: [fp16], dtypes: {inputs: {x: [int32]}}}", "ops.Relu.dtypes.inputs.x"),
        (
            "{schemes: [fp16], quantization: {output: {a8w8: {scale: 0, zero_point: 0}}}}",
            "scale: Input should be great",
        ),
        ("{schemes: [fp16], refused: ~}", "ops.Relu.refused: has no value (a null removes what"),
    ],
)
def test_problems_of_one_rule(rule, expected):
    found = errors(f"{HEAD}{SCHEMES}ops: {{Relu: {rule}}}")
    assert any(expected in one for one in found), found


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("{activation: uint8, weight_axis: block}", "weight_axis block needs weight_block"),
        ("{activation: float16, bias: int32}", "a float scheme has no bias type"),
        ("{activation: uint8, tensors: [int8]}", "tensors lists float types only, not int8"),
    ],
)
def test_problems_of_one_scheme(scheme, expected):
    assert any(expected in one for one in errors(f"{HEAD}schemes: {{s: {scheme}}}\nops: {{Relu: {{schemes: [s]}}}}"))


def test_a_chip_extends_its_family(tmp_path):
    write(
        tmp_path,
        _family=FAMILY,
        chip="""extends: ./_family
name: toy/chip
title: Chip
source: chip source
delegate: {soc_model: 7}
schemes: {fp16: ~}
ops:
  Conv: {rank: [4, 4]}
  Gelu: ~
  Abs: {schemes: [a8w8]}
""",
    )
    target = load_target(tmp_path / "chip.yaml")
    assert target.delegate.soc_model == 7
    assert target.delegate.arch == "v1"
    assert list(target.schemes) == ["a8w8"]
    assert sorted(target.ops) == ["Abs", "Conv", "Relu"]
    assert target.ops["Conv"].rank == (4, 4)
    assert target.ops["Conv"].schemes == ("a8w8",)  # the removed scheme is gone from the rules
    assert (target.ops["Relu"].source, target.ops["Abs"].source) == ("family source", "chip source")
    assert target.float_scheme is None


def test_an_op_left_without_any_scheme_is_refused(tmp_path):
    chip = "extends: ./_family\nname: toy/chip\ntitle: Chip\nschemes: {fp16: ~}\n"
    target = load_target(write(tmp_path, _family=FAMILY, chip=chip) / "chip.yaml")
    assert target.ops["Gelu"].refused == "the family computes it in fp16 only, which this chip does not have"
    again = Target.of(Descriptor.model_validate_json(target.descriptor.model_dump_json(by_alias=True)))
    assert again.fingerprint == target.fingerprint


def test_problems_point_into_the_file_they_are_in(tmp_path):
    bad = FAMILY.replace("rank: [3, 5]", "rnk: [3, 5]")
    write(tmp_path, _family=bad, chip="extends: ./_family\nname: toy/chip\ntitle: Chip\nops: {Abs: {schemes: [x]}}\n")
    with pytest.raises(DescriptorError) as caught:
        load_target(tmp_path / "chip.yaml")
    assert [str(one) for one in caught.value.problems] == [
        f"{tmp_path}/_family.yaml:7:33: ops.Conv.rnk: unknown key (did you mean 'rank'?)"
    ]


@pytest.mark.parametrize("name", ["./../outside", "./missing", "qualcomm/../../etc", "/etc/passwd", "no/such"])
def test_extends_stays_inside_the_known_folders(tmp_path, name):
    (tmp_path / "outside.yaml").write_text(FAMILY)
    folder = tmp_path / "inside"
    folder.mkdir()
    write(folder, chip=f"extends: {name}\nname: toy/chip\ntitle: Chip\n")
    with pytest.raises(DescriptorError, match=r"chip.yaml:1:10: extends: no descriptor"):
        load_target(folder / "chip.yaml")


def test_extends_does_not_follow_a_link_out_of_the_folder(tmp_path):
    (tmp_path / "outside.yaml").write_text(FAMILY)
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "_family.yaml").symlink_to(tmp_path / "outside.yaml")
    write(folder, chip="extends: ./_family\nname: toy/chip\ntitle: Chip\n")
    with pytest.raises(DescriptorError, match=r"no descriptor './_family'"):
        load_target(folder / "chip.yaml")


def test_extends_in_a_circle(tmp_path):
    write(tmp_path, a="extends: ./b\n", b="extends: ./a\n")
    with pytest.raises(DescriptorError, match="goes round in a circle: a -> b -> a"):
        load_target(tmp_path / "a.yaml")


def test_an_unknown_target_is_a_usage_error_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"no target 'toy/nothing'.*`npuopt targets list`"):
        load_target("toy/nothing")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_target(tmp_path / "none.yaml")


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes(bytes(range(256)) * 9000)
    with pytest.raises(DescriptorError):
        load_target(tmp_path / "a.yaml")


def test_the_fingerprint_is_of_facts_not_of_text():
    rule = "{Conv: {schemes: [fp16]}}"
    one, two = target_with(rule), target_with("  # a comment\n  Conv:\n    schemes: [fp16]\n")
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != target_with("{Conv: {schemes: [fp16, a8w8]}}").fingerprint


@pytest.mark.parametrize("name", list_targets())
def test_every_installed_target_loads_and_is_called_what_its_file_is(name):
    assert load_target(name).name == name
