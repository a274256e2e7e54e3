import pytest

from npuopt.graph import infer_shapes, nodes, parse
from npuopt.partition import macs


def count(inputs, call, output="float[A,B,C,D] y"):
    model = parse(f'<ir_version: 12, opset_import: ["" : 24]> g ({inputs}) => ({output}) {{ y = {call} }}')
    infer_shapes(model)
    return macs(nodes(model)[0])


@pytest.mark.parametrize(
    ("inputs", "call", "expected"),
    [
        ("float[1,4,8,8] x, float[16,4,3,3] w", "Conv<pads=[1,1,1,1]>(x, w)", 16 * 8 * 8 * 4 * 9),
        ("float[1,4,8,8] x, float[4,1,3,3] w", "Conv<group=4, pads=[1,1,1,1]>(x, w)", 4 * 8 * 8 * 9),
        ("float[1,4,8,8] x, float[4,6,2,2] w", "ConvTranspose<strides=[2,2]>(x, w)", 6 * 16 * 16 * 4),
        ("float[2,3,8,5] x, float[5,7] w", "MatMul(x, w)", 2 * 3 * 8 * 7 * 5),
        ("float[1,2,4,8] x", "Relu(x)", 0),
        ("float[1,2,N,8] x, float[8,3] w", "MatMul(x, w)", 0),
        ("float[1,2,4,8] x, float[1,2,6,8] k", "Attention(x, k, k)", 2 * 4 * 6 * 16),
        ("float[5,1,3] x, float[1,16,3] w, float[1,16,4] r", "LSTM<hidden_size=4>(x, w, r)", 5 * 4 * 4 * (3 + 4)),
        ("float[2,3] x, float[3,4] w", 'Einsum<equation="ij,jk->ik">(x, w)', 2 * 3 * 4),
    ],
)
def test_the_formula_of_each_op(inputs, call, expected):
    assert count(inputs, call) == expected


def test_gemm_counts_the_inner_dimension():
    assert count("float[3,2] x, float[3,4] w", "Gemm<transA=1>(x, w)", "float[2,4] y") == 2 * 4 * 3
