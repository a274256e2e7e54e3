"""The embedding beside the graphs: the head's weights where they are the same numbers, a file of its own else."""

import numpy as np
import pytest

from npuopt.bundle import EmbeddingTable
from npuopt.decoder import NO_HINTS
from npuopt.errors import InputError, UsageError
from npuopt.graph.saving import save_sharing
from npuopt.quantization.blocks import BlockFormat, block_values, round_blocks
from npuopt.road.decoding import open_decoder
from npuopt.road.driving import TokenTable
from npuopt.road.embedding_table import place_table, token_table
from npuopt.road.options import silent
from npuopt.runtime.generation.embedding import Embedding
from support.paths import EXAMPLES
from support.rewrites import model_from
from support.toy_decoder import record

ROWS, WIDTH = 512, 32
TABLE = np.random.default_rng(0).normal(0, 1, (ROWS, WIDTH)).astype(np.float32)
IDS = np.array([3, 0, 511, 3])


def listed(array: np.ndarray) -> str:
    return ",".join(map(repr, array.ravel().tolist()))


def floats(weights: np.ndarray, *, turned: bool) -> str:
    shape = "32, 512" if turned else "512, 32"
    body = "y = MatMul(x, w)" if turned else "t = Transpose<perm=[1, 0]>(w) y = MatMul(x, t)"
    kept = listed(weights.T if turned else weights)
    return f"(float[1, 32] x) => (float[1, 512] y) <float[{shape}] w = {{{kept}}}> {{ {body} }}"


def integers(weights: np.ndarray) -> str:
    """Return a head that holds its weights in 8 bits, a scale for each token."""
    held = round_blocks(weights, BlockFormat("int8"))
    constants = f"int8[32, 512] w = {{{listed(held.integers.T)}}}, float[512] s = {{{listed(held.scales)}}}"
    body = "v = DequantizeLinear<axis=1>(w, s) y = MatMul(x, v)"
    return f"(float[1, 32] x) => (float[1, 512] y) <{constants}> {{ {body} }}"


def placed(folder, text: str, *, as_integers: bool = True, rows: np.ndarray = TABLE):
    made = record("new")
    for profile in made.profiles:
        below = (folder / profile.model).parent
        below.mkdir(parents=True, exist_ok=True)
    first = made.profiles[0]
    save_sharing({first.name: model_from(text)}, (folder / first.model).parent)
    (folder / f"{first.folder}/{first.name}.onnx").rename(folder / first.model)
    return place_table(folder, made, TokenTable("input_ids", rows), as_integers=as_integers)


@pytest.mark.parametrize("turned", [False, True])
def test_a_float_heads_weights_are_the_table(tmp_path, turned):
    table = placed(tmp_path, floats(TABLE, turned=turned))
    assert table.file.endswith("weights.data")
    assert table.turned == turned
    assert not list(tmp_path.rglob("embedding*"))
    np.testing.assert_allclose(Embedding(tmp_path, table).look_up(IDS), TABLE[IDS], rtol=1e-6)


def test_so_are_its_integers_though_smoothing_divided_its_columns(tmp_path):
    divided = np.linspace(0.5, 4, WIDTH).astype(np.float32)
    table = placed(tmp_path, integers(TABLE / divided))
    assert table.file.endswith("weights.data")
    assert table.dtype == "int8"
    got = Embedding(tmp_path, table).look_up(IDS)
    assert np.abs(got - TABLE[IDS]).max() < 0.02 * np.abs(TABLE).max()


def packed(weights: np.ndarray, block: int, *, symmetric: bool) -> str:
    """Return a head that holds its weights in 4 bits, as MatMulNBits reads them."""
    held = round_blocks(weights, BlockFormat("uint4", block, symmetric))
    blocks, width = held.scales.shape[1], weights.shape[1]
    numbers = held.integers[:, 0::2] | held.integers[:, 1::2] << 4
    constants = [f"uint8[{ROWS}, {blocks}, {block // 2}] w = {{{listed(numbers)}}}"]
    constants.append(f"float[{ROWS}, {blocks}] s = {{{listed(held.scales)}}}")
    if held.zero_points is not None:
        points = np.pad(held.zero_points, [(0, 0), (0, blocks % 2)])
        both = points[:, 0::2] | points[:, 1::2] << 4
        constants.append(f"uint8[{ROWS}, {both.shape[1]}] z = {{{listed(both)}}}")
    operands = "x, w, s" if symmetric else "x, w, s, z"
    sizes = f"K = {width}, N = {ROWS}, bits = 4, block_size = {block}"
    opsets = '<ir_version: 12, opset_import: ["" : 24, "com.microsoft" : 1]> g'
    body = f"y = com.microsoft.MatMulNBits<{sizes}>({operands})"
    return f"{opsets} (float[1, {width}] x) => (float[1, {ROWS}] y) <{', '.join(constants)}> {{{body}}}"


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("width", "block"), [(96, 32), (64, 16)])
def test_so_are_its_four_bits_in_blocks(tmp_path, width, block, symmetric):
    random = np.random.default_rng(2)
    wanted = (random.normal(0, 1, (ROWS, width)) + 0.3).astype(np.float32)
    divided = np.linspace(0.5, 4, width).astype(np.float32)
    table = placed(tmp_path, packed(wanted / divided, block, symmetric=symmetric), rows=wanted)
    assert table.file.endswith("weights.data")
    assert (table.dtype, table.block, table.points is None) == ("uint4", block, symmetric)
    assert [path.name for path in tmp_path.rglob("embedding*")] == ["embedding.columns.data"]
    got = Embedding(tmp_path, table).look_up(IDS)
    error = np.abs(got - wanted[IDS])
    assert error.mean() < 0.15
    head = round_blocks(wanted / divided, BlockFormat("uint4", block, symmetric))
    exact = block_values(head, BlockFormat("uint4", block, symmetric))[IDS]
    ratio = got / np.where(exact == 0, 1, exact)
    columns = [ratio[exact[:, column] != 0, column] for column in range(width)]
    assert all(np.ptp(column) < 1e-5 for column in columns if column.size)


def test_four_bits_that_are_not_tied_are_no_table(tmp_path):
    other = np.random.default_rng(1).normal(0, 1, (ROWS, WIDTH * 2)).astype(np.float32)
    wanted = np.random.default_rng(3).normal(0, 1, (ROWS, WIDTH * 2)).astype(np.float32)
    table = placed(tmp_path, packed(other, 32, symmetric=False), rows=wanted)
    assert table.dtype == "int8"


def test_blocks_without_their_scales_are_refused(tmp_path):
    (tmp_path / "table.data").write_bytes(b"\0" * 64)
    table = EmbeddingTable(file="table.data", dtype="int4", rows=4, width=32, block=16)
    with pytest.raises(InputError, match="whole blocks along its rows"):
        Embedding(tmp_path, table)


def test_signed_halves_of_a_byte(tmp_path):
    (tmp_path / "table.data").write_bytes(bytes([0x98, 0x7F, 0x10, 0x00]))
    (tmp_path / "scales.data").write_bytes(np.array([2, 0.5], "<f4").tobytes())
    table = EmbeddingTable(file="table.data", dtype="int4", rows=2, width=4, block=4, scales="scales.data")
    np.testing.assert_array_equal(
        Embedding(tmp_path, table).look_up(np.array([1, 0])), [[0, 0.5, 0, 0], [-16, -14, -2, 14]]
    )


@pytest.mark.parametrize(("as_integers", "closeness"), [(True, 0.02), (False, 0)])
def test_weights_that_are_not_tied_leave_the_table_a_file(tmp_path, as_integers, closeness):
    other = np.random.default_rng(1).normal(0, 1, (ROWS, WIDTH)).astype(np.float32)
    table = placed(tmp_path, integers(other), as_integers=as_integers)
    assert (tmp_path / table.file).stat().st_size == TABLE.size * (1 if as_integers else 4)
    assert np.abs(Embedding(tmp_path, table).look_up(IDS) - TABLE[IDS]).max() <= closeness * np.abs(TABLE).max()


def test_a_file_that_is_too_short_is_refused(tmp_path):
    table = placed(tmp_path, integers(TABLE))
    (tmp_path / table.file).write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="holds 100 bytes"):
        Embedding(tmp_path, table)


def test_graphs_that_look_tokens_up_have_no_table_to_place():
    opened = open_decoder(EXAMPLES / "tiny_llama" / "model.onnx", 64, NO_HINTS, say=silent)
    with pytest.raises(UsageError, match="cannot be looked up on the host"):
        token_table(opened, record("new"))
