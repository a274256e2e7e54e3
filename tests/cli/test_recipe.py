"""`npuopt optimize --recipe`: what it runs, what the command line overrides, how it fails."""

import json

import onnx
import pytest

from support.command import complaint, npuopt

TEXT = """<ir_version: 10, opset_import: ["" : 24]>
g (float[N, 4] x) => (float[N, 4] y) <float[4] c = {1, 2, 3, 4}> { a = Identity(x) b = Neg(c) y = Add(a, b) }"""


@pytest.fixture
def files(tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "m.onnx")

    def write(recipe):
        (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
        return ("optimize", tmp_path / "m.onnx", "-o", tmp_path / "o.onnx", "--recipe", tmp_path / "recipe.yaml")

    return write


def ops(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_only_the_passes_of_the_recipe_run(files, tmp_path):
    done = npuopt(*files("passes: [drop-identities]"), "--json")
    assert [item["name"] for item in json.loads(done.stdout)["passes"]] == ["drop-identities"]
    assert ops(tmp_path / "o.onnx") == ["Neg", "Add"]


def test_the_standard_order_without_a_pass(files, tmp_path):
    assert npuopt(*files("without: [fold-constants]")).returncode == 0
    assert "Neg" in ops(tmp_path / "o.onnx")


@pytest.mark.parametrize(("options", "size"), [((), 3), (("--dim", "N=5"), 5)])
def test_dims_of_the_command_line_win(files, tmp_path, options, size):
    assert npuopt(*files("dims: {'N': 3}\npasses: [freeze]"), *options).returncode == 0
    assert onnx.load(tmp_path / "o.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == size


def test_a_dim_that_the_model_lacks_is_usage(files, tmp_path):
    assert "the model has no dim called 'M'" in complaint(npuopt(*files("dims: {M: 3}\npasses: [freeze]")), 2)
    assert "the model has no dim called 'M'" in complaint(npuopt(*files("passes: ['freeze-dims{dims={M=3}}']")), 2)
    assert not (tmp_path / "o.onnx").exists()


def test_a_target_that_does_not_exist_is_usage(files):
    assert "no target 'acme/none'" in complaint(npuopt(*files("target: acme/none")), 2)


def test_a_mistake_is_named_with_its_line(files, tmp_path):
    sentence = complaint(npuopt(*files("passes:\n  - fold-constant")), 3)
    assert f"{tmp_path}/recipe.yaml:2:5: passes[0]: there is no pass called 'fold-constant'" in sentence
    assert not (tmp_path / "o.onnx").exists()


def test_a_recipe_and_single_passes_exclude_each_other(files):
    assert "exclude each other" in complaint(npuopt(*files("passes: []"), "--pass", "fold-constants"), 2)


def test_legalizing_needs_a_target(files, tmp_path):
    assert "no target is given; give --target" in complaint(npuopt(*files("passes: [clean, legalize]")), 2)
    assert npuopt(*files("passes: [clean, legalize]"), "--target", "host/x86-64").returncode == 0
