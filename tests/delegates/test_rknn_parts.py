"""The Rockchip road against a stand-in for the toolkit: what is read from its log, and what it does when it fails."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnx
import pytest
from delegates.rknn_fake import ROWS, START, table, write_fake
from onnx.reference import ReferenceEvaluator

from npuopt.delegates.contract import Limits
from npuopt.delegates.rknn import delegate as road
from npuopt.delegates.rknn import probe as probing
from npuopt.delegates.rknn.layers import write_with_layers
from npuopt.delegates.rknn.opset import write_down
from npuopt.delegates.rknn.placement import nodes_on_device
from npuopt.delegates.rknn.weights import shrink_scales
from npuopt.errors import InputError, VendorToolError
from npuopt.graph.execution import Session
from npuopt.target import load_target
from npuopt.target.probing.build import NODE, Question
from npuopt.toolchain import Environment

RELU = '<ir_version: 10, opset_import: ["" : 24]> g (float[1,4] x) => (float[1,4] y) { [act] y = Relu (x) }'
FAKE = Environment("rknn", None, sys.executable, {"rknn-toolkit2": "2.5.0"}, "none", "0")  # pyright: ignore[reportArgumentType] -- lies nowhere


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Return a function that says how the stand-in behaves; by default it builds a Relu."""
    write_fake(tmp_path / "fake")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(road, "environment", lambda _: FAKE)
    monkeypatch.setattr(probing, "environment", lambda _: FAKE)

    def behave(**says):
        monkeypatch.setenv("FAKE_RKNN", json.dumps({"log": table(*ROWS), **says}))

    behave()
    return behave


@pytest.fixture
def compile_relu(tmp_path, tool):
    def compile_it(seconds=60.0, **says):
        tool(**says)
        model = tmp_path / "model.onnx"
        onnx.save(onnx.parser.parse_model(RELU), model)
        (tmp_path / "out").mkdir()
        limits = Limits(seconds=seconds, memory_mib=2048)
        return road.RknnDelegate().compile(model, tmp_path / "out", load_target("rockchip/rk3588"), limits=limits)

    return compile_it


def test_the_table_becomes_placement_and_figures(compile_relu):
    region = compile_relu()
    assert [(node.name, node.on_npu) for node in region.nodes] == [("act", True)]
    assert region.figures["cycles"] == {"dram": 274, "npu": 1872, "total": 1900}
    assert (region.figures["traffic_bytes"], region.figures["internal_bytes"]) == (3584, 1536)
    assert region.figures["weights_bytes"] == 2 << 20
    assert region.figures["layers"] == {"CPU": 1, "NPU": 1}
    assert (region.folder / "model.rknn").stat().st_size == region.figures["binary_bytes"] == 64


def test_the_table_of_chips_with_sparse_weights_has_one_more_column(compile_relu):
    region = compile_relu(log=table(*ROWS).replace("274/1872/1900", "274/1872/1900   0%"))
    assert region.figures["cycles"]["total"] == 1900


def test_a_layer_on_the_processor_is_a_node_off_the_device(compile_relu):
    (node,) = compile_relu(log=table(ROWS[0], ("Relu", "CPU", "0/0/0", "0", "Relu:act"))).nodes
    assert (node.on_npu, node.reason) == (False, "the toolkit's table puts Relu on the CPU")


def test_a_node_without_an_npu_form_is_off_the_device_whatever_the_table_says(compile_relu):
    (node,) = compile_relu(log=f"{START} No lowering found for: act, node type = Relu\n{table(*ROWS)}").nodes
    assert (node.on_npu, node.reason) == (False, "the toolkit has no NPU form of Relu")


def test_a_layer_of_the_processor_that_belongs_to_no_node_is_listed():
    layers = [{"kind": "Gather", "target": "CPU", "name": "Gather:made_up"}]
    nodes = nodes_on_device(onnx.parser.parse_model(RELU).graph, layers, [])
    assert [(node.name, node.on_npu) for node in nodes] == [("act", True), ("made_up", False)]


def test_a_layer_of_the_processor_that_lays_out_an_input_is_at_the_edge_and_one_inside_is_not():
    text = "agraph (float[2,3] x) => (float[6] y) { [first] r = Flatten <axis = 0> (x) [act] s = Relu (r) "
    graph = onnx.parser.parse_graph(text + "[inside] t = Transpose (s) [act2] u = Relu (t) y = Identity (u) }")
    layers = [{"kind": "Reshape", "target": "CPU", "name": f"Reshape:{name}"} for name in ("first", "inside")]
    layers.append({"kind": "Relu", "target": "NPU", "name": "Relu:act2"})
    nodes = {node.name: node for node in nodes_on_device(graph, layers, [])}
    assert (nodes["first"].on_npu, nodes["first"].edge) == (False, True)
    assert (nodes["inside"].on_npu, nodes["inside"].edge) == (False, False)


def test_a_transpose_that_the_toolkit_moved_behind_the_last_layer_that_computes_is_at_the_edge():
    """As the toolkit has the end of the PP-OCR recognizer: the Softmax comes first, then what stood ahead of it."""
    text = "agraph (float[2,3] x) => (float[6] y) { [turn] t = Transpose (x) [soft] s = Softmax <axis = 0> (t) "
    graph = onnx.parser.parse_graph(text + "[flat] y = Flatten <axis = 0> (s) }")
    rows = (("Softmax", "NPU", "soft"), ("Transpose", "CPU", "turn"), ("Reshape", "NPU", "flat"))
    layers = [{"kind": kind, "target": target, "name": f"{kind}:{name}"} for kind, target, name in rows]
    layers.append({"kind": "OutputOperator", "target": "CPU", "name": "OutputOperator:y"})
    nodes = {node.name: node for node in nodes_on_device(graph, layers, [])}
    assert (nodes["turn"].on_npu, nodes["turn"].edge) == (False, True)
    assert (nodes["soft"].on_npu, nodes["flat"].on_npu) == (True, True)


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ({"crash": True}, r"RKNN-Toolkit2 crashed \(Aborted\)"),
        ({"raises": "The input shape ['N', 3] is not support!"}, "refused it: ValueError: The input shape"),
        (
            {"code": -1, "log": 'E build: Traceback (most recent call last):\n  File "a"\nKeyError: 3'},
            "it: KeyError: 3",
        ),
        ({"code": -1, "log": "E build: w4a16 not support in 'rk3588'"}, "refused it: build: w4a16 not support"),
        ({"log": "all is well"}, "table of layers, which tells where each one runs, is missing or has gaps"),
        ({"log": table(*ROWS).replace(f"{START} 1 ", f"{START} E ")}, "is missing or has gaps"),
        ({"log": table(*ROWS, memory=False)}, "says nothing of the memory that it takes"),
    ],
)
def test_what_goes_wrong_is_one_sentence(compile_relu, says, sentence):
    with pytest.raises(VendorToolError, match=sentence):
        compile_relu(**says)


def test_a_hang_is_stopped(compile_relu):
    with pytest.raises(VendorToolError, match="did not end in time"):
        compile_relu(seconds=3.0, hang=True)


def test_the_simulator_takes_samples_that_fit(compile_relu):
    region, target = compile_relu(), load_target("rockchip/rk3588")
    run, limits = road.RknnDelegate().run, Limits(seconds=60, memory_mib=2048)
    made = run(region, [{"x": np.float32([[-1, 2, -3, 4]])}] * 2, target, limits=limits)
    assert [one["y"].tolist() for one in made] == [[[0, 2, 0, 4]]] * 2
    with pytest.raises(InputError, match="input 'x': has shape"):
        run(region, [{"x": np.zeros((1, 5), np.float32)}], target, limits=limits)


def test_layers_come_by_the_names_that_the_table_leaves(compile_relu):
    region, target = compile_relu(), load_target("rockchip/rk3588")
    read, limits = road.RknnDelegate().run_layers, Limits(seconds=60, memory_mib=2048)
    sample = {"x": np.float32([[-1, 2, -3, 4]])}
    assert read(region, sample, target, limits=limits)["y"].tolist() == [[0, 2, 0, 4]]


def test_a_table_that_names_other_outputs_than_came_is_an_error(compile_relu):
    region, target = compile_relu(log=table(*ROWS[:3])), load_target("rockchip/rk3588")
    with pytest.raises(VendorToolError, match="returned 1 outputs, its table has 0"):
        road.RknnDelegate().run_layers(
            region, {"x": np.zeros((1, 4), np.float32)}, target, limits=Limits(seconds=60, memory_mib=2048)
        )


def test_layers_are_what_the_toolkit_keeps(tmp_path):
    text = '<ir_version: 9, opset_import: ["" : 19]> g (float[1,4] x) => (float[4] y) '
    text += "<float s = {0.1}, int8 z = {0}> { a = Neg (x) b = Relu (a) q = QuantizeLinear (b, s, z) "
    text += "d = DequantizeLinear (q, s, z) e = Abs (d) f = Tanh (e) y = Flatten <axis = 0> (f) }"
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    assert write_with_layers(tmp_path / "model.onnx", tmp_path / "more.onnx") == ["y", "b", "e"]
    outputs = onnx.load(tmp_path / "more.onnx").graph.output
    assert [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in outputs] == [[4], [1, 4], [1, 4]]


def test_weights_that_the_toolkit_rounds_anew_are_those_that_were_meant():
    numbers, scale = np.arange(-126, 127, dtype=np.int8).reshape(11, 23, 1, 1), np.float32(0.02)
    text = '<ir_version: 9, opset_import: ["" : 19]> g (float[1,23,2,2] x) => (float[1,11,2,2] y) '
    text += "{ w = DequantizeLinear (q, s) y = Conv (x, w) }"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(
        [onnx.numpy_helper.from_array(numbers, "q"), onnx.numpy_helper.from_array(scale, "s")]
    )
    shrink_scales(model)
    held, by = (onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer)
    grown = by * np.float32(128 / 127)  # the scale that the toolkit computes with
    np.testing.assert_array_equal(np.round(held * by / grown), numbers)
    np.testing.assert_allclose(grown, scale, rtol=1e-6)


def question(text=RELU) -> Question:
    model = onnx.parser.parse_model(text)
    model.graph.node[0].name = NODE
    return Question("Relu", "Relu", "fp16", model, {"x": np.float32([[-1, 2, -3, 4]])})


def test_an_output_that_is_read_inside_too_gets_a_dequantizer_of_its_own(tmp_path):
    """Otherwise RKNN-Toolkit2 2.5.0 ends in `KeyError: 'a_dup'`."""
    text = """<ir_version: 9, opset_import: ["" : 19]> g (int8[2] x) => (float[2] a, float[2] y, float[2] z)
        <float s = {0.5}, int8 p = {3}> {
            [first] a = DequantizeLinear (x, s, p) [act] y = Relu (a) [last] z = DequantizeLinear (x, s, p) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "as-it-came.onnx")
    write_down(tmp_path / "as-it-came.onnx", tmp_path / "written.onnx", 19)
    written = onnx.load(tmp_path / "written.onnx").graph
    assert [node.name for node in written.node] == ["first", "first/inner", "first/inner/parted", "act", "last"]
    assert [list(node.input) for node in written.node if "a" in node.input] == []
    sample = {"x": np.int8([-7, 9])}
    ran = [Session(tmp_path / name).run(sample) for name in ("as-it-came.onnx", "written.onnx")]
    assert {name: list(made) for name, made in ran[0].items()} == {name: list(made) for name, made in ran[1].items()}


def test_readers_in_float_get_a_dequantizer_of_their_own(tmp_path):
    """What reads 8 bits beside an addition in float would be taken for float as well."""
    text = """<ir_version: 10, opset_import: ["": 21]> g (float[4] x, float[4] z) => (float[4] y)
    <float s = {0.5}, int8 p = {0}> {
    i = QuantizeLinear(x, s, p) [first] d = DequantizeLinear(i, s, p)
    r = Relu(d) j = QuantizeLinear(r, s, p) e = DequantizeLinear(j, s, p)
    a = Add(d, z) b = Abs(e) y = Add(a, b) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    write_down(tmp_path / "m.onnx", tmp_path / "old.onnx", 19)
    written = onnx.load(tmp_path / "old.onnx").graph
    assert [node.name for node in written.node if node.op_type == "DequantizeLinear"] == ["first", "first/floats", ""]
    reads = {node.output[0]: list(node.input) for node in written.node}
    assert (reads["r"], reads["a"]) == (["d"], ["d/floats/parted", "z/parted"])
    given = {"x": np.array([-1, 0.3, 0.9, 70], np.float32), "z": np.ones(4, np.float32)}
    np.testing.assert_array_equal(
        Session(tmp_path / "old.onnx").run(given)["y"], Session(tmp_path / "m.onnx").run(given)["y"]
    )


def test_an_identity_parts_readers_in_float_from_a_dequantizer(tmp_path):
    """Otherwise RKNN-Toolkit2 2.5.0 ends in `KeyError: 'r'`."""
    text = """<ir_version: 9, opset_import: ["" : 19]> g (int8[2,2] x) => (float[2,2] y, float[2,2] z)
        <float s = {0.5}, int8 p = {3}> {
            a = DequantizeLinear (x, s, p) r = Relu (a) b = QuantizeLinear (r, s, p)
            [pair] c = DequantizeLinear (b, s, p) [product] y = MatMul (c, c) [shares] z = Softmax (c) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    write_down(tmp_path / "m.onnx", tmp_path / "old.onnx", 19)
    reads = {node.name: (node.op_type, list(node.input)) for node in onnx.load(tmp_path / "old.onnx").graph.node}
    assert reads["pair/parted"] == ("Identity", ["c"])
    assert (reads["product"][1], reads["shares"][1]) == (["c/parted", "c/parted"], ["c/parted"])
    names = write_with_layers(tmp_path / "old.onnx", tmp_path / "all.onnx")
    assert "c/parted" not in names
    given = {"x": np.array([[-1, 3], [9, 70]], np.int8)}
    old, new = (Session(tmp_path / name).run(given) for name in ("m.onnx", "old.onnx"))
    np.testing.assert_array_equal(old["y"], new["y"])


def test_products_in_8_bits_without_a_bias_get_zeros(tmp_path):
    """Otherwise RKNN-Toolkit2 2.5.0 crashes where an addition reads them."""
    text = """<ir_version: 9, opset_import: ["" : 19]> g (int8[1,2] x, float[1,2] f) => (float[1,3] y, float[1,3] z)
        <float s = {0.5}, int8 p = {3}, int8[2,3] w = {1, 2, 3, 4, 5, 6}, float[3] c = {1, 2, 4}, int8[3] n = {0, 0, 0},
        float[2,3] v = {1, 2, 3, 4, 5, 6}> {
            a = DequantizeLinear (x, s, p) b = DequantizeLinear <axis = 1> (w, c, n)
            [held] y = Gemm (a, b) [float] z = Gemm (f, v) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    write_down(tmp_path / "m.onnx", tmp_path / "old.onnx", 19)
    graph = onnx.load(tmp_path / "old.onnx").graph
    assert {node.name: len(node.input) for node in graph.node if node.op_type == "Gemm"} == {"held": 3, "float": 2}
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    [bias] = [node for node in graph.node if node.output[0] == "y/bias"]
    numbers, scales, _ = (constants[name].tolist() for name in bias.input)
    assert (numbers, scales) == ([0, 0, 0], [0.5, 1, 2])
    given = {"x": np.int8([[-1, 9]]), "f": np.float32([[1, 2]])}
    old, new = (Session(tmp_path / name).run(given) for name in ("m.onnx", "old.onnx"))
    np.testing.assert_allclose(old["y"], new["y"], rtol=0.01)


@pytest.mark.parametrize(
    ("pair", "shares", "parted"),
    [
        ("QuantizeLinear (x, s, p)", "r", True),
        ("QuantizeLinear (x, s, p)", "n", False),
        ("Cast <to = 3> (x)", "r", False),
    ],
)
def test_grouped_attention_beside_8_bits_is_not_left_to_become_one_layer(tmp_path, pair, shares, parted):
    """RKNN-Toolkit2 2.5.0 crashes on it; it makes one layer of others, which is faster."""
    text = """<ir_version: 9, opset_import: ["" : 19]> g (float[1,2,2] x) => (float[1,2,2] y, int8[1,2,2] q)
        <float s = {0.5}, int8 p = {3}, int64[3] shape = {1, 2, 2}> {
            q = PAIR m = MatMul (x, x)
            [shares] n = Softmax (m) r = Reshape (n, shape) [product] y = MatMul (READ, x) }"""
    text = text.replace("PAIR", pair).replace("READ", shares)
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    write_down(tmp_path / "m.onnx", tmp_path / "old.onnx", 19)
    reads = {node.name: list(node.input) for node in onnx.load(tmp_path / "old.onnx").graph.node}
    assert reads.get("shares/parted") == (["n"] if parted else None)
    given = {"x": np.random.default_rng(0).normal(size=(1, 2, 2)).astype(np.float32)}
    old, new = (Session(tmp_path / name).run(given) for name in ("m.onnx", "old.onnx"))
    np.testing.assert_array_equal(old["y"], new["y"])


def test_a_probe_compares_numbers_and_goes_on_after_a_crash(tool):
    def ask(*questions):
        target, limits = load_target("rockchip/rk3588"), Limits(seconds=60, memory_mib=2048)
        return road.RknnDelegate().probe(questions, target, limits=limits)

    rows = (ROWS[0], ("Relu", "NPU", "1/1/1", "1", f"Relu:{NODE}"))
    tool(log=table(*rows))
    right, wrong = ask(question(), question(RELU.replace("Relu", "Neg")))
    assert (right.taken, right.error) == (True, 0.0)
    assert not wrong.taken
    assert "computes other numbers" in wrong.reason
    tool(crash=True)
    assert [(one.taken, one.reason) for one in ask(question(), question())] == [
        (False, "the toolkit crashed (Aborted)"),
        (False, "the toolkit crashed (Aborted)"),
    ]
    tool(log=table(ROWS[0], ("Relu", "CPU", "1/1/1", "1", f"Relu:{NODE}")))
    assert ask(question())[0].reason == "the toolkit's table puts Relu on the CPU"


def test_what_the_old_opset_cannot_say_is_refused(tmp_path):
    text = '<ir_version: 10, opset_import: ["" : 24]> g (float[1,4] x, int64 n) => (float[1,4] y) '
    text += "{ [act] y = TensorScatter <axis = 1> (x, x, n) }"
    onnx.save(onnx.parser.parse_model(text), tmp_path / "new.onnx")
    with pytest.raises(VendorToolError, match="opset 19 cannot say it"):
        write_down(tmp_path / "new.onnx", tmp_path / "old.onnx", 19)
    assert not (tmp_path / "old.onnx").exists()


@pytest.mark.parametrize(
    "node",
    [
        "Gelu (x)",
        'Gelu <approximate = "tanh"> (x)',
        "Swish (x)",
        "RMSNormalization <axis = -1, epsilon = 0.01> (x, w)",
        "RMSNormalization (x, w)",
        "LayerNormalization (x, w)",
    ],
)
def test_newer_ops_are_spelled_in_older_ones_and_keep_name_and_numbers(tmp_path, node):
    head = '<ir_version: 10, opset_import: ["" : 24]> g (float[2,3,4] x) => (float[2,3,4] y)'
    weight = "<float[4] w = {1, 2, 0.5, -1}>" if "w)" in node else ""
    new, old = tmp_path / "new.onnx", tmp_path / "old.onnx"
    onnx.save(onnx.parser.parse_model(f"{head} {weight} {{ [named] y = {node} }}"), new)
    write_down(new, old, 19)
    sample = {"x": np.random.default_rng(3).normal(size=(2, 3, 4)).astype(np.float32)}
    written = onnx.load(old)
    assert written.opset_import[0].version == 19
    assert [one.name for one in written.graph.node][-1] == "named"
    np.testing.assert_allclose(Session(old).run(sample)["y"], reference(new, sample), rtol=2e-5, atol=2e-6)


def reference(path, sample):
    """Compute a model in onnx's own evaluator: ONNX Runtime has no kernel for some of the newest ops."""
    [made] = list(ReferenceEvaluator(str(path)).run(None, sample))
    return made
