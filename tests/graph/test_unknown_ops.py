"""Ops that nobody knows are named with their domain and their first node."""

from npuopt.graph import parse, unknown_ops

HEADER = (
    '<ir_version: 12, opset_import: ["" : 24, "com.microsoft" : 1, "com.example" : 1, "local" : 1, "ai.onnx.ml" : 4]>\n'
)


def test_standard_ops_contrib_ops_and_own_functions_are_known():
    text = """g (float[2,3] x) => (float[2,3] y) {
        a = Relu(x)  b = com.microsoft.Gelu(a)  c = local.double(b)  y = ai.onnx.ml.Scaler(c) }
    <domain: "local", opset_import: ["" : 24]> double (a) => (b) { b = Add(a, a) }"""
    assert unknown_ops(parse(HEADER + text)) == []


def test_others_are_named_once_also_in_subgraphs():
    text = """g (float[2,3] x, bool c) => (float[2,3] y) {
        [first] a = com.example.Swirl(x)  [second] b = com.example.Swirl(a)
        y = If(c) <then_branch = t () => (float[2,3] p) { [third] p = com.microsoft.NoSuchOp(b) },
                   else_branch = e () => (float[2,3] q) { q = Relu(b) }> }"""
    assert unknown_ops(parse(HEADER + text)) == [
        ("com.example", "Swirl", "first"),
        ("com.microsoft", "NoSuchOp", "third"),
    ]
