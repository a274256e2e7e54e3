"""`npuopt check`: the fallback before and after lowering, what was tried, and refused nodes as models."""

import json
import re

import onnx
import pytest

from support.command import complaint, npuopt
from support.model_text import save_text

TEXT = """(float[2, 2] x, float[1, 2, 2, 2, 2, 2, 2] z) => (float y, float[1, 2, 2, 2, 2, 2, 2] w) {
    a = Erf(x) b = Erf(a) [det] y = Det(b) [celu] w = Celu(z)
}"""


@pytest.fixture
def check(tmp_path):
    def run(*options, text=TEXT):
        model = save_text(tmp_path / "m.onnx", text)
        return npuopt("check", model, "-t", "qualcomm/sm8750", "--precision", "fp16", *options)

    return run


def test_what_was_refused_before_and_after_and_which_lowerings_helped(check):
    out = check().stdout
    assert "left to the host: 4 nodes before lowering, 2 after" in out
    assert [line.split() for line in out.splitlines() if "lower-erf" in line] == [["Erf", "2", "lower-erf"]]


def test_a_node_without_a_legal_form_names_the_rule_and_what_was_tried(check):
    lines = check().stdout.splitlines()
    celu = next(index for index, line in enumerate(lines) if line.startswith("host: Celu celu: "))
    assert "tried lower-celu: ends in Elu, refused: rank of input 0" in lines[celu + 1]
    det = lines.index("host: Det det: Det is not among the ops that qualcomm/sm8750 takes")
    assert lines[det + 1].strip() == "tried nothing: no lowering takes Det apart"


def test_json_has_the_same(check):
    document = json.loads(check("--json").stdout)
    assert (document["refused_before"], document["refused_after"]) == (4, 2)
    assert document["lowered"] == [{"op_type": "Erf", "by": ["lower-erf"], "nodes": 2}]
    celu = next(node for node in document["nodes"] if node["name"] == "celu")
    assert celu["tried"][0].startswith("lower-celu: ends in Elu")


def test_a_model_that_is_taken_as_it_is_says_nothing_of_lowerings(check):
    assert "refused" not in check(text="(float[2] x) => (float[2] y) { y = Relu(x) }").stdout


@pytest.mark.parametrize("name", ["../../evil", "a/b:c*d", "ünïcode name", "." * 200, "CON"])
def test_files_of_refused_nodes_have_safe_names_and_real_contents(check, tmp_path, name):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 24]> g {TEXT}')
    next(node for node in model.graph.node if node.op_type == "Det").name = name
    onnx.save(model, tmp_path / "named.onnx")
    folder = tmp_path / "nodes"
    options = ("-t", "qualcomm/sm8750", "--precision", "fp16", "--save-nodes", folder)
    assert npuopt("check", tmp_path / "named.onnx", *options).returncode == 0
    files = sorted(path.name for path in folder.iterdir())
    assert len(files) == 2
    assert all(re.fullmatch(r"[0-9]{4}-[A-Za-z]+-[A-Za-z0-9_]*[.]onnx", file) for file in files)
    det = onnx.load(folder / files[0])
    onnx.checker.check_model(det, full_check=True)
    assert [(node.op_type, node.name) for node in det.graph.node] == [("Det", name)]
    assert [dim.dim_value for dim in det.graph.input[0].type.tensor_type.shape.dim] == [2, 2]


def test_a_folder_that_cannot_be_made(check, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in complaint(check("--save-nodes", tmp_path / "file" / "nodes"), 2)


def listed(count):
    return ", ".join(str(number % 7 / 8 - 0.3) for number in range(count))


def test_an_encoder_of_onnx_runtimes_own_ops_is_taken_whole_and_needs_no_noted_shapes(check):
    text = f"""<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
    g (int32[B, S] ids, int32[B, S] mask) => (float[B, S, 16] y)
    <float[5, 16] words = {{{listed(80)}}}, float[9, 16] places = {{{listed(144)}}}, float[16] g = {{{listed(16)}}},
     float[16] b = {{{listed(16)}}}, float[16, 48] w = {{{listed(768)}}}, float[48] v = {{{listed(48)}}},
     float[16, 16] u = {{{listed(256)}}}> {{
        e, none = com.microsoft.EmbedLayerNormalization(ids, , words, places, , g, b)
        a = com.microsoft.Attention<num_heads = 2>(e, w, v, mask)
        s = com.microsoft.SkipLayerNormalization(a, e, g, b)
        t = MatMul(s, u) h = com.microsoft.BiasGelu(t, b)
        m = com.microsoft.FusedMatMul<transB = 1>(h, u) y = com.microsoft.SkipLayerNormalization(m, s, g, b)
    }}"""
    done = check("--dim", "B=1", "--dim", "S=4", "--json", text=text)
    summary = json.loads(done.stdout)["summary"]
    assert (summary["host"], summary["npu_fraction"]) == (0, 1.0)
