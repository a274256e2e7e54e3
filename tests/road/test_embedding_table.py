"""The embedding beside the graphs: the head's weights where they are the same numbers, a file of its own else."""

import numpy as np
import pytest

from npuopt.decoder import NO_HINTS
from npuopt.errors import InputError, UsageError
from npuopt.graph.saving import save_sharing
from npuopt.quantization.blocks import BlockFormat, round_blocks
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


def placed(folder, text: str, *, as_integers: bool = True):
    made = record("new")
    for profile in made.profiles:
        below = (folder / profile.model).parent
        below.mkdir(parents=True, exist_ok=True)
    first = made.profiles[0]
    save_sharing({first.name: model_from(text)}, (folder / first.model).parent)
    (folder / f"{first.folder}/{first.name}.onnx").rename(folder / first.model)
    return place_table(folder, made, TokenTable("input_ids", TABLE), as_integers=as_integers)


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
