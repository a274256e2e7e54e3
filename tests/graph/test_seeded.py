import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import parse
from npuopt.graph.seeded import seeded_inputs


def test_indices_stay_within_their_table() -> None:
    model = parse("""<ir_version: 10, opset_import: ["" : 24]>
    g (int64[2, 50] ids) => (float[2, 50, 2] y) <float[3, 2] table = {1, 2, 3, 4, 5, 6}, int64[1] shape = {-1}> {
        flat = Reshape(ids, shape)
        again = Identity(ids)
        y = Gather(table, again)
    }""")
    ids = seeded_inputs(model, seed=0)["ids"]
    assert ids.shape == (2, 50)
    assert set(np.unique(ids)) == {0, 1, 2}


def test_the_same_seed_gives_the_same_inputs() -> None:
    model = parse("""<ir_version: 10, opset_import: ["" : 24]>
    g (float[4] x, bool[4] m) => (float[4] y) { y = Relu(x) }""")
    first, second, other = (seeded_inputs(model, seed) for seed in (1, 1, 2))
    assert np.array_equal(first["x"], second["x"])
    assert not np.array_equal(first["x"], other["x"])
    assert first["m"].dtype == np.bool_


def test_dynamic_inputs_are_refused_by_name() -> None:
    model = parse("""<ir_version: 10, opset_import: ["" : 24]>
    g (float[N] x) => (float[N] y) { y = Relu(x) }""")
    with pytest.raises(InputError, match="input 'x'"):
        seeded_inputs(model, seed=0)


def test_symbolic_dims_have_sizes_by_name_or_by_position() -> None:
    model = parse("""<ir_version: 10, opset_import: ["" : 24]>
    g (float[N, M, 2] x, float[N, ?] z) => (float[N, M, 2] y) { y = Relu(x) }""")
    drawn = seeded_inputs(model, 0, {"N": 3, "x:1": 0, "z:1": 4})
    assert {name: array.shape for name, array in drawn.items()} == {"x": (3, 0, 2), "z": (3, 4)}


def test_scalars_need_no_size_and_unknown_ranks_cannot_be_drawn() -> None:
    header = '<ir_version: 10, opset_import: ["" : 24]>'
    scalar = parse(f"{header} g (float x) => (float y) {{ y = Relu(x) }}")
    assert seeded_inputs(scalar, 0)["x"].shape == ()
    scalar.graph.inputs[0].shape = None
    with pytest.raises(InputError, match="no static shape"):
        seeded_inputs(scalar, 0)
