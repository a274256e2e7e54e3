"""Models written down to an older opset: what changes its form, and what has none there."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from npuopt.errors import InputError
from npuopt.graph import Session, infer_shapes, parse, to_proto, write_down

HEAD = '<ir_version: 12, opset_import: ["" : 24]>'


def written(text: str, version: int = 17):
    model = parse(f"{HEAD} {text}")
    infer_shapes(model)
    write_down(model, version)
    proto = to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


MEAN = """net (float[2,3,4] x) => (float[2,1,4] y) <int64[1] axes = {1}> { y = ReduceMean (x, axes) }"""
SPLIT = "net (float[4] x) => (float[2] y, float[2] z) { y, z = Split <axis = 0, num_outputs = 2> (x) }"
PAD = """net (float[2,3] x) => (float[3,5] y) <int64[4] pads = {0, 1, 1, 1}, float zero = {0}, int64[2] axes = {0, 1}>
    { y = Pad (x, pads, zero, axes) }"""
POOL = """net (float[1,1,4,4] x) => (float[1,1,3,3] y)
    { y = AveragePool <kernel_shape = [2,2], dilations = [1,1]> (x) }"""
RESIZE = """net (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] scales = {1, 1, 2, 2}>
    { y = Resize <mode = "nearest", antialias = 0, keep_aspect_ratio_policy = "stretch"> (x, , scales) }"""
BYTES = """net (float[4] x) => (float[4] y) <float scale = {0.5}, int8 zero = {0}>
    { q = QuantizeLinear <saturate = 1> (x, scale, zero)  y = DequantizeLinear (q, scale, zero) }"""
WORDS = BYTES.replace("int8", "int16")


@pytest.mark.parametrize("text", [MEAN, SPLIT, PAD, POOL, RESIZE, BYTES, WORDS])
@pytest.mark.parametrize("version", [13, 17, 20])
def test_the_numbers_stay(tmp_path, text, version):
    proto = written(text, version)
    assert proto.opset_import[0].version == version
    before = parse(f"{HEAD} {text}")
    (value,) = proto.graph.input
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = tmp_path / "older.onnx"
    onnx.save(proto, path)
    wanted, made = Session(before).run({"x": x}), Session(path).run({"x": x})
    assert wanted.keys() == made.keys()
    assert all(np.allclose(wanted[name], made[name], rtol=0, atol=1e-6) for name in made), (
        "sums may differ in the last bit"
    )


def test_axes_become_an_attribute_where_they_were_one():
    (node,) = written(MEAN, 17).graph.node
    assert list(node.input) == ["x"]
    assert [list(attribute.ints) for attribute in node.attribute if attribute.name == "axes"] == [[1]]
    assert len(written(MEAN, 18).graph.node[0].input) == 2, "from 18 on they are an input"


def test_quantizers_of_16_bits_are_onnx_runtimes_below_21():
    assert [node.domain for node in written(WORDS, 17).graph.node] == ["com.microsoft"] * 2
    assert [node.domain for node in written(WORDS, 21).graph.node] == [""] * 2
    assert [node.domain for node in written(BYTES, 17).graph.node] == [""] * 2


def test_the_canonical_opset_is_left_alone():
    assert written(MEAN, 24).opset_import[0].version == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "net (float[4] x) => (float[4] y) { [act] y = Gelu (x) }",
            r"'act' \(Gelu\) does not fit opset 17: it is of an",
        ),
        (
            """net (float[1,1,5,5] x) => (float[1,1,3,3] y)
            { [pool] y = AveragePool <kernel_shape = [2,2], dilations = [2,2]> (x) }""",
            "'pool' .AveragePool. has no form in an older opset: its window is dilated",
        ),
        (
            "net (float[5] x) => (float[3] y, float[2] z) { [cut] y, z = Split <axis = 0, num_outputs = 2> (x) }",
            "its parts are not equal",
        ),
        (
            """net (float[2,3] x) => (float[2,4] y) <int64[2] pads = {0, 1}, int64[1] axes = {1}>
            { [wide] y = Pad (x, pads, , axes) }""",
            "it pads some of its axes only",
        ),
        (
            "net (float[2,3] x, int64[1] axes) => (float[?,?] y) { [mean] y = ReduceMean (x, axes) }",
            "its axes are known at run time only",
        ),
    ],
)
def test_what_has_no_older_form_is_named(text, message):
    with pytest.raises(InputError, match=message):
        written(text)


def test_opsets_before_13_are_not_written():
    with pytest.raises(InputError, match="not written in opset 11"):
        written(MEAN, 11)
