"""Products with large dequantized weights become blocks of rows, with the same numbers."""

import ml_dtypes
import numpy as np
import pytest

from npuopt.graph import Editor, Session, load, nodes, save
from npuopt.graph.large_products import split_large_products
from npuopt.graph.mapped import MappedPackedTensor, MappedTensor
from support.rewrites import model_from

ROWS, WIDTH = 10, 64
A_BLOCK = 4 * WIDTH * 4
"""Bytes of four rows of floats: blocks of 4, 4 and 2 rows."""

HEAD = "(float[2,64] x) => (float[2,10] y)"


def table(name: str, dtype: str, shape: tuple[int, ...], numbers: np.ndarray) -> str:
    dims = ",".join(map(str, shape))
    return f"{dtype}[{dims}] {name} = {{{', '.join(map(str, numbers.ravel().tolist()))}}}"


def head(dtype: str, scale: tuple[int, ...], attributes: str, *, bias: str = "", zero_point: bool = True) -> str:
    """A Gemm with dequantized weights of random numbers, as text."""
    draw = np.random.default_rng(5)
    low, high = {"int8": (-128, 128), "uint8": (0, 256)}[dtype]
    constants = [
        table("q", dtype, (ROWS, WIDTH), draw.integers(low, high, (ROWS, WIDTH))),
        table("s", "float", scale, draw.uniform(0.1, 1, scale).round(3)),
    ]
    if zero_point:
        constants.append(table("z", dtype, scale, draw.integers(low, high, scale)))
    if bias:
        constants.append(f"{bias} b = {{{', '.join(map(str, range(ROWS)))}}}")
    inputs, added = ("q, s, z" if zero_point else "q, s"), (", b" if bias else "")
    return (
        f"{HEAD} <{', '.join(constants)}> "
        f"{{w = DequantizeLinear<{attributes}>({inputs}) y = Gemm<transB = 1, alpha = 0.5>(x, w{added})}}"
    )


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        head("int8", (ROWS,), "axis = 0"),
        head("int8", (ROWS,), "axis = -2", bias="float[10]"),
        head("uint8", (ROWS, 2), "axis = 1, block_size = 32", bias="float[1,10]"),
        head("int8", (1,), "axis = 0", zero_point=False),
    ],
)
def test_blocks_give_the_same_numbers(tmp_path, text, in_file) -> None:
    model = model_from(text)
    if in_file:
        save(model, tmp_path / "model.onnx", external_data=True)
        model = load(tmp_path / "model.onnx")
    feeds = {"x": np.random.default_rng(1).standard_normal((2, WIDTH)).astype(np.float32)}
    expected = Session(model_from(text)).run(feeds)["y"]
    assert split_large_products(model, A_BLOCK) == 1
    assert [node.op_type for node in nodes(model)] == [*["DequantizeLinear", "Gemm"] * 3, "Concat"]
    np.testing.assert_array_equal(Session(model).run(feeds)["y"], expected)


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(("scale", "attributes"), [((ROWS, 4), "axis = 1, block_size = 16"), ((ROWS,), "axis = 0")])
def test_packed_weights_are_cut_too(tmp_path, scale, attributes, in_file) -> None:
    """Zero points of 4 bits, one for each row, lie two in a byte."""
    dims = ",".join(map(str, scale))
    model = model_from(
        f"(float[2,64] x, uint4[10,64] q, uint4[{dims}] z, float[{dims}] s) => (float[2,10] y) "
        f"{{w = DequantizeLinear<{attributes}>(q, s, z) y = Gemm<transB = 1>(x, w)}}"
    )
    draw, node = np.random.default_rng(2), nodes(model, "DequantizeLinear")[0]
    arrays = [draw.integers(0, 16, shape).astype(ml_dtypes.uint4) for shape in ((ROWS, WIDTH), scale)]
    arrays.insert(1, draw.uniform(0.1, 1, scale).astype(np.float32))
    for index, array in enumerate(arrays):
        node.replace_input_with(index, Editor(model).constant(array, near=node, name=f"constant_{index}"))
    del model.graph.inputs[1:]
    feeds = {"x": draw.standard_normal((2, WIDTH)).astype(np.float32)}
    expected = Session(model).run(feeds)["y"]
    if in_file:
        save(model, tmp_path / "model.onnx", external_data=True)
        model = load(tmp_path / "model.onnx")
    assert split_large_products(model, A_BLOCK) == 1
    np.testing.assert_array_equal(Session(model).run(feeds)["y"], expected)


def test_rows_stay_in_their_file(tmp_path) -> None:
    """A block is a place in the same file: nothing was read, and no whole table is left beside the blocks."""
    wide = HEAD.replace("64", "512") + (
        f" <{table('q', 'int8', (ROWS, 512), np.ones((ROWS, 512), int))}, float[10] s = {{{', '.join(['1'] * ROWS)}}}> "
        "{w = DequantizeLinear<axis = 0>(q, s) y = Gemm<transB = 1>(x, w)}"
    )
    save(model_from(wide), tmp_path / "model.onnx", external_data=True)
    model = load(tmp_path / "model.onnx")
    whole = model.graph.initializers["q"].const_value
    assert split_large_products(model, 4 * 512 * 4) == 1
    pieces = [model.graph.initializers[f"q/{row}"].const_value for row in (0, 4, 8)]
    assert all(isinstance(piece, MappedTensor | MappedPackedTensor) for piece in pieces)
    assert [piece.offset - whole.offset for piece in pieces] == [0, 4 * 512, 8 * 512]
    assert {piece.source for piece in pieces} == {whole.source}
    assert "q" not in model.graph.initializers


TURNED = head("int8", (ROWS,), "axis = 0").replace(HEAD, "(float[2,10] x) => (float[2,64] y)").replace("B = 1", "B = 0")
READ_TWICE = (
    head("int8", (ROWS,), "axis = 0")
    .replace("=> (", "=> (float v, ")
    .replace("y = Gemm", "v = ReduceSum<keepdims = 0>(w) y = Gemm")
)


@pytest.mark.parametrize(
    "text",
    [
        TURNED,
        READ_TWICE,
        head("int8", (WIDTH,), "axis = 1"),  # scales go with the columns
        head("int8", (2, WIDTH), "axis = 0, block_size = 5"),  # blocks go along the rows
    ],
)
def test_others_stay_whole(text) -> None:
    assert split_large_products(model_from(text), A_BLOCK) == 0


def test_small_ones_stay_whole() -> None:
    assert split_large_products(model_from(head("int8", (ROWS,), "axis = 0"))) == 0
