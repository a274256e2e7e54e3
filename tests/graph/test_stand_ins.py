"""What is inferred of ONNX Runtime's own ops is what ONNX Runtime makes of them."""

import numpy as np
import onnx
import pytest

from npuopt.graph import DataType, Session, dims, infer_shapes, load, parse, static_shape, to_proto
from npuopt.graph.stand_ins import RULES

HEADER = '<ir_version: 12, opset_import: ["": 24, "com.microsoft": 1]>'
SCALES = "float s = {0.5}, uint8 z = {100}, float t = {0.25}, uint8 w = {9}, float r = {0.125}, uint8 v = {3}"
NUMBERS = "1, 2, 3, 4, 5, 6, 7, 8"
CASES = {
    "QuickGelu": "float[B,3] a | QuickGelu(a)",
    "Gelu": "float[B,3] a | Gelu(a)",
    "FastGelu": "float[B,3] a, float[3] b | FastGelu(a, b)",
    "BiasGelu": "float[B,3] a, float[3] b | BiasGelu(a, b)",
    "FusedMatMul": "float[B,3,2] a, float[B,3,5] b | FusedMatMul<transA = 1, alpha = 0.5>(a, b)",
    "FusedMatMul of both": "float[3,2] a, float[5,3] b | FusedMatMul<transA = 1, transB = 1>(a, b)",
    "FusedMatMul of batches": "float[3,B,2] a, float[2,B,5] b | FusedMatMul<transBatchA = 1, transBatchB = 1>(a, b)",
    "FusedMatMul of vectors": "float[3] a, float[B,3,5] b | FusedMatMul(a, b)",
    "FusedGemm": 'float[B,3] a, float[2,3] b | FusedGemm<transB = 1, activation = "Relu">(a, b)',
    "FusedConv": 'float[B,1,5,4] a | FusedConv<activation = "Relu", pads = [1,0,0,0]>(a, kernel)',
    "SkipLayerNormalization": "float[B,4,2] a, float[B,4,2] b | SkipLayerNormalization(a, b, two, two)",
    "SkipSimplifiedLayerNormalization": "float[B,4,2] a, float[4,2] b | SkipSimplifiedLayerNormalization(a, b, two)",
    "EmbedLayerNormalization": "int32[B,3] a | EmbedLayerNormalization(a, , table, table, , two, two)",
    "QLinearAdd": "uint8[B,3] a, uint8[4,1,3] b | QLinearAdd(a, s, z, b, t, w, r, v)",
    "QLinearMul": "uint8[B,3] a, uint8[3] b | QLinearMul(a, s, z, b, t, w, r, v)",
    "QLinearWhere": "bool[3] c, uint8[B,1] a, uint8[3] b | QLinearWhere(c, a, s, z, b, t, w, r, v)",
    "QLinearConcat": "uint8[B,3] a, uint8[B,4] b | QLinearConcat<axis = 1>(r, v, a, s, z, b, t, w)",
    "QLinearSigmoid": "uint8[B,3] a | QLinearSigmoid(a, s, z, r, v)",
    "QLinearLeakyRelu": "uint8[B,3] a | QLinearLeakyRelu(a, s, z, r, v)",
    "QLinearSoftmax": "uint8[B,3] a | QLinearSoftmax<opset = 13>(a, s, z, r, v)",
    "QLinearGlobalAveragePool": "uint8[B,3,4,5] a | QLinearGlobalAveragePool(a, s, z, r, v)",
    "QLinearAveragePool": "uint8[B,3,4,5] a | QLinearAveragePool<kernel_shape = [2,2], strides = [2,2]>(a, s, z, r, v)",
    "QGemm": "uint8[B,3] a, uint8[3,4] b | QGemm(a, s, z, b, t, w, , r, v)",
    "QGemm to floats": "uint8[B,3] a, uint8[4,3] b | QGemm<transB = 1>(a, s, z, b, t, w)",
    "DynamicQuantizeMatMul": "float[B,2,3] a, uint8[3,4] b | DynamicQuantizeMatMul(a, b, t, w)",
    "MatMulIntegerToFloat": "uint8[B,3] a, uint8[3,4] b | MatMulIntegerToFloat(a, b, s, t, z, w)",
    "MatMulNBits": "float[B,3,32] a | MatMulNBits<K = 32, N = 2, bits = 4, block_size = 16>(a, packed, scales)",
    "GatherBlockQuantized": "int64[B,3] i | GatherBlockQuantized<block_size = 16, bits = 4, quantize_axis = 1>"
    "(flat, i, scales)",
    "RotaryEmbedding": "float[B,2,3,4] a, int64[B,3] i | RotaryEmbedding(a, i, table, table)",
    "Attention": "float[B,3,4] a, float[4,12] b, float[12] c | Attention<num_heads = 2>(a, b, c)",
    "Attention of sizes": "float[B,3,4] a, float[4,14] b, float[14] c | "
    "Attention<num_heads = 2, qkv_hidden_sizes = [4,4,6]>(a, b, c)",
    "MultiHeadAttention": "float[B,3,4] a, float[B,5,4] b, float[B,5,6] c | MultiHeadAttention<num_heads = 2>(a, b, c)",
    "QuantizeLinear": "float[B,3] a | QuantizeLinear(a, s, z)",
    "DequantizeLinear": "uint8[B,3] a | DequantizeLinear(a, s, z)",
}
WITHOUT_KERNEL = {
    "QLinearReduceMean",
    "BiasAdd",
    "BiasSoftmax",
    "GroupNorm",
    "SkipGroupNorm",
    "FusedMatMulActivation",
    "TransposeMatMul",
    "MatMulBnb4",
}
"""Not on the CPU; they follow rules that others here follow too."""
CONSTANTS = f"""{SCALES}, float[2] two = {{1, 2}}, float[4,2] table = {{{NUMBERS}}},
    float[1,1,2,2] kernel = {{1, 2, 3, 4}}, float[2,2] scales = {{1, 2, 3, 4}},
    uint8[2,2,8] packed = {{{NUMBERS}, {NUMBERS}, {NUMBERS}, {NUMBERS}}},
    uint8[2,16] flat = {{{NUMBERS}, {NUMBERS}, {NUMBERS}, {NUMBERS}}}"""


def text_of(case: str) -> str:
    inputs, node = CASES[case].split(" | ")
    made = "y, mask" if node.startswith("Embed") else "y"
    return f"{HEADER} g ({inputs}) => (float[] y) <{CONSTANTS}> {{ {made} = com.microsoft.{node} }}"


@pytest.mark.parametrize("case", CASES)
def test_what_is_inferred_is_what_is_made(case):
    model = parse(text_of(case))
    (output,) = model.graph.outputs
    output.type = None
    infer_shapes(model)
    generator = np.random.default_rng(0)
    feeds = {
        item.name: generator.integers(0, 2, [2 if dim == "B" else dim for dim in dims(item)]).astype(item.dtype.numpy())
        for item in model.graph.inputs
    }
    (made,) = Session(model, threads=1).run(feeds).values()
    assert output.dtype.numpy() == made.dtype
    expected = dims(output)
    assert "B" in expected or "of both" in case
    assert [2 if dim == "B" else dim for dim in expected] == list(made.shape)


def test_the_lengths_beside_embeddings_are_of_the_batch():
    model = parse(text_of("EmbedLayerNormalization"))
    infer_shapes(model)
    mask = next(iter(model.graph)).outputs[1]
    assert (mask.dtype, dims(mask)) == (DataType.INT32, ("B",))


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        ("GroupQueryAttention<num_heads = 2, kv_num_heads = 1>(a, , , , , n, n)", ("B", 3, 8)),
        ("QLinearReduceMean<axes = [1], keepdims = 0>(a, s, z, r, v)", ("B", 16)),
        ("QLinearReduceMean(a, s, z, r, v)", (1, 1, 1)),
    ],
)
def test_packed_heads_and_means(node, shape):
    kind = "float" if node.startswith("Group") else "uint8"
    model = parse(f"""{HEADER} g ({kind}[B,3,16] a, int32[1] n) => ({kind}[] y) <{SCALES}> {{
        y = com.microsoft.{node} }}""")
    (output,) = model.graph.outputs
    output.type = None
    infer_shapes(model)
    assert dims(output) == shape


def test_every_rule_is_asked():
    asked = {text.split(" | ")[1].split("(")[0].split("<")[0] for text in CASES.values()}
    assert set(RULES) - asked - WITHOUT_KERNEL == {"GroupQueryAttention", "QLinearConv"}


def test_shapes_go_through_files_and_subgraphs_and_notes_of_other_sizes_are_not_believed(tmp_path):
    model = parse(f"""{HEADER} g (float[2,3] x, bool c) => (float[] y) <float[9,9] t, float[3] b = {{1, 2, 3}}> {{
        t = com.microsoft.BiasGelu(x, b)
        y = If(c) <then_branch = p () => (float[] u) {{ u = com.microsoft.QuickGelu(t) }}, else_branch = q ()
            => (float[] v) {{ v = com.microsoft.FusedMatMul<transA = 1>(t, x) }}> }}""")
    onnx.save(to_proto(model), tmp_path / "model.onnx")
    loaded = load(tmp_path / "model.onnx")
    shapes = {output.name: static_shape(output) for node in loaded.graph.all_nodes() for output in node.outputs}
    assert shapes["t"] == (2, 3)
    assert (shapes["u"], shapes["v"]) == ((2, 3), (3, 3))
    assert [node.op_type for node in loaded.graph] == ["BiasGelu", "If"]


def test_forms_whose_shapes_are_not_known_keep_their_notes():
    model = parse(f"""{HEADER} g (uint8[2,4,5,3] x) => (uint8[] y) <{SCALES}, uint8[2,1,1,3] u> {{
        u = com.microsoft.QLinearGlobalAveragePool<channels_last = 1>(x, s, z, r, v)  y = Identity(u) }}""")
    infer_shapes(model)
    assert static_shape(model.graph.outputs[0]) == (2, 1, 1, 3)


def test_a_function_of_the_same_name_is_what_the_model_says():
    model = parse(f"""{HEADER} g (float[2,3] x) => (float[] y) {{ t = com.microsoft.Gelu(x)  y = Identity(t) }}
        <domain: "com.microsoft", opset_import: ["": 24]> Gelu (a) => (b) {{ b = Transpose(a) }}""")
    infer_shapes(model)
    assert static_shape(model.graph.outputs[0]) == (3, 2)
