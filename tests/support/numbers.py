"""Seeded inputs for small test graphs, and ONNX Runtime as the judge of what a graph computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from npuopt.graph import DataType, dims, to_proto

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model, Value

    Arrays = Mapping[str, np.ndarray]
    Ranges = Mapping[str, tuple[float, float]]

TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "float16": 1e-2, "bfloat16": 3e-2}
"""Largest difference relative to the output's largest value; any other type must be equal."""

SYMBOLIC_DIMS = (2, 1, 3, 4)
"""What symbolic dims become, in turn: 1 is there because a dim of 1 broadcasts."""


def run(model: Model, feeds: Arrays) -> dict[str, np.ndarray]:
    """Run `model` as it is written, on those of `feeds` that it has as inputs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(to_proto(model).SerializeToString(), options, ["CPUExecutionProvider"])
    inputs = {item.name: feeds[item.name] for item in session.get_inputs()}
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def draw_feeds(
    model: Model, seed: int, *, dims_of: Mapping[str, int] | None = None, ranges: Ranges | None = None
) -> dict[str, np.ndarray]:
    """Draw inputs for `model`; the same name and seed always give the same array.

    Args:
        model: its inputs that have no default value are drawn.
        seed: also chooses sizes for symbolic dims that `dims_of` does not name.
        dims_of: symbolic dim -> size.
        ranges: input -> (lowest, beyond highest) for integers, (mean, deviation) for floats.
    """
    sizes = dict(dims_of or {})
    generator = np.random.default_rng(seed)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        shape = [_size(dim, sizes, seed) for dim in dims(value) or ()]
        feeds[value.name] = _draw(generator, value, shape, (ranges or {}).get(value.name))
    return feeds


def assert_close(expected: Arrays, got: Arrays, tolerance: float | None = None) -> None:
    """Compare the outputs of two runs.

    Args:
        expected: the reference's outputs; those that `got` has not are missed.
        got: may have no other outputs.
        tolerance: for floats instead of TOLERANCE; 0 asks for the same bits (NaN payloads aside).
    """
    assert list(expected) == list(got), "the outputs have other names"
    for name, left in expected.items():
        right = got[name]
        assert (left.dtype, left.shape) == (right.dtype, right.shape), f"output {name} has another type or shape"
        allowed = TOLERANCE.get(str(left.dtype), 0.0) if tolerance is None else tolerance
        if left.dtype.kind in "fV" and allowed:
            wide_left, wide_right = left.astype(np.float64), right.astype(np.float64)
            finite = wide_left[np.isfinite(wide_left)]
            scale = float(np.abs(finite).max(initial=0.0))
            np.testing.assert_allclose(wide_right, wide_left, rtol=allowed, atol=allowed * scale, err_msg=name)
        else:
            np.testing.assert_array_equal(right, left, err_msg=name)
            if left.dtype.kind == "f":
                zeros = left == 0
                np.testing.assert_array_equal(np.signbit(right[zeros]), np.signbit(left[zeros]), err_msg=name)


def _size(dim: int | str | None, sizes: dict[str, int], seed: int) -> int:
    if isinstance(dim, int):
        return dim
    return sizes.setdefault(dim or "", SYMBOLIC_DIMS[(seed + len(sizes)) % len(SYMBOLIC_DIMS)])


def _draw(
    generator: np.random.Generator, value: Value, shape: list[int], limits: tuple[float, float] | None
) -> np.ndarray:
    if value.dtype == DataType.STRING:
        return generator.choice(np.array(["", "a", "bc"], dtype=object), shape)
    if value.dtype == DataType.BOOL:
        return generator.integers(0, 2, shape).astype(np.bool_)
    assert value.dtype is not None, f"input {value.name} has no type"
    numpy_type = value.dtype.numpy()
    if numpy_type.kind in "iu":
        low, high = limits or ((0, 5) if numpy_type.kind == "u" else (-4, 5))
        return generator.integers(int(low), int(high), shape).astype(numpy_type)
    mean, deviation = limits or (0.0, 2.0)
    array = np.asarray(generator.normal(mean, deviation, shape))
    array[generator.random(shape) < 0.1] = 0.0  # zeros are where divisions, signs and masks differ
    return array.astype(numpy_type)
