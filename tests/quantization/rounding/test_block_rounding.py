"""Weights in blocks, rounded by the data that they are multiplied with."""

import numpy as np
import pytest

from npuopt.graph import to_text
from npuopt.quantization import open_samples
from npuopt.quantization.block_encodings import BlockEncoding
from npuopt.quantization.blocks import block_values, round_blocks
from npuopt.quantization.rounding.block_rounding import round_held_weights
from support.rewrites import model_from

WIDTH, CHANNELS = 32, 8
PRODUCT = "(float[4,32] x) => (float[4,8] y) <float[32,8] w = {%s}> { y = MatMul(x, w) }"
TURNED = "(float[4,32] x) => (float[4,8] y) <float[8,32] w = {%s}> { t = Transpose<perm=[1,0]>(w) y = MatMul(x, t) }"
TIED = """(float[4,32] x, int64[2] i) => (float[4,8] y, float[2,32] z) <float[8,32] w = {%s}> {
    t = Transpose<perm=[1,0]>(w) y = MatMul(x, t) z = Gather(w, i) }"""


def features(seed: int, positions: int) -> np.ndarray:
    """Return features of which a few directions hold nearly all the variance, as activations do."""
    mix = np.random.default_rng(7).normal(0, 1, (3, WIDTH))
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 1, (positions, 3)) @ mix + rng.normal(0, 0.1, (positions, WIDTH))
    return made.astype(np.float32)


def rounded_error(folder, text, held, samples=16, **more):
    """Return the errors of the rows as rounded by data and to the nearest, or None where data did not round them."""
    rows = np.random.default_rng(0).normal(0, 1, (CHANNELS, WIDTH)).astype(np.float32)
    weight = rows.T if text is PRODUCT else rows
    model = model_from(text % ",".join(map(repr, weight.ravel().tolist())))
    np.savez(folder / "samples.npz", x=features(1, 4 * samples).reshape(samples, 4, WIDTH), **more)
    before = to_text(model)
    found = round_held_weights(model, {"w": held}, open_samples(folder / "samples.npz", model))
    assert to_text(model) == before, "the model comes back as it was"
    if not found:
        return None
    return [block_values(way, held.format) - rows for way in (found["w"], round_blocks(rows, held.format))]


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (PRODUCT, BlockEncoding(dtype="int4", axis=0, block=8)),
        (PRODUCT, BlockEncoding(dtype="uint4", axis=0, block=8, symmetric=False)),
        (PRODUCT, BlockEncoding(dtype="uint4", axis=0, block=12)),
        (PRODUCT, BlockEncoding(dtype="int8", axis=1)),
        (TURNED, BlockEncoding(dtype="int4", axis=1, block=8)),
    ],
)
def test_errors_cancel_on_features_that_go_together(tmp_path, text, held):
    errors = rounded_error(tmp_path, text, held)
    unseen = features(2, 256)
    noise = [float(((unseen @ error.T) ** 2).mean()) for error in errors]
    assert noise[0] < noise[1] / 3, "on data that it did not see"


def test_a_table_that_is_looked_up_too_keeps_its_rows_close(tmp_path):
    held = BlockEncoding(dtype="int4", axis=1, block=8)
    tied, alone = (
        rounded_error(tmp_path, text, held, **more)
        for text, more in ((TIED, {"i": np.zeros((16, 2), np.int64)}), (TURNED, {}))
    )
    own = [float((errors[0] ** 2).mean()) for errors in (tied, alone)]
    assert own[0] < own[1], "errors of the rows themselves count"
    unseen = features(2, 256)
    noise = [float(((unseen @ error.T) ** 2).mean()) for error in tied]
    assert noise[0] < noise[1], "and those of the product"


def test_fewer_positions_than_features_tell_nothing(tmp_path):
    assert rounded_error(tmp_path, PRODUCT, BlockEncoding(dtype="int4", axis=0, block=8), samples=7) is None


def test_little_memory_costs_runs_and_changes_nothing(tmp_path):
    rows = np.random.default_rng(0).normal(0, 1, (WIDTH, WIDTH)).astype(np.float32)
    numbers = ",".join(map(repr, rows.ravel().tolist()))
    model = model_from(
        f"""(float[4,32] x) => (float[4,32] z) <float[32,32] v = {{{numbers}}}, float[32,32] w = {{{numbers}}}> {{
        y = MatMul(x, v) z = MatMul(y, w) }}"""
    )
    np.savez(tmp_path / "samples.npz", x=features(1, 64).reshape(16, 4, WIDTH))
    held = dict.fromkeys("vw", BlockEncoding(dtype="int4", axis=0, block=8))
    calls: list[tuple[int, int | None]] = []

    def by(**limits):
        samples = open_samples(tmp_path / "samples.npz", model)
        return round_held_weights(model, held, samples, progress=lambda *call: calls.append(call), **limits)

    ample = by()
    assert calls[-1] == (16, 16)
    scarce = by(moment_bytes=1)
    assert calls[-1] == (32, 32)
    for name in "vw":
        assert (ample[name].integers == scarce[name].integers).all()
