"""The benchmark of all roads: its models with drawn weights, and how estimates are compared."""

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks import roads
from benchmarks.optimize import LIGHT_FOLDER
from benchmarks.seeded_weights import seeded_weights
from npuopt.graph import load
from npuopt.graph.execution import Session


def test_drawn_weights_keep_activations_alive_and_are_the_same_again(tmp_path) -> None:
    for name in ("first.onnx", "second.onnx"):
        seeded_weights(LIGHT_FOLDER / "light_squeezenet.onnx", tmp_path / name)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    drawn = onnx.load(tmp_path / "first.onnx")
    assert "ConstantOfShape" not in {node.op_type for node in drawn.graph.node}
    filters = [array for tensor in drawn.graph.initializer if (array := numpy_helper.to_array(tensor)).ndim == 4]
    assert len(filters) == 26
    assert all(array.std() > 0 for array in filters)
    image = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    (scores,) = Session(load(tmp_path / "first.onnx")).run({"data_0": image}).values()
    assert np.isfinite(scores).all()
    assert scores.std() > 0


def test_estimates_are_compared_by_rank(capsys, monkeypatch) -> None:
    rows = [
        roads.Row(
            *(str(cycles), "arm/chip"),
            figures={"cycles": cycles, "sram_bytes": 100},
            estimated_seconds=cycles / 2e9,
            estimated_peak=90,
        )
        for cycles in (1000, 3000, 2000)
    ]
    monkeypatch.setattr(roads, "_clock", lambda target: 1e9)
    roads.print_estimates(rows)
    printed = capsys.readouterr().out
    assert "rank correlation of estimated cycles over 3 rows: 1.000" in printed
    assert "| 1000 | arm/chip | 0.50 | 0.90 |" in printed


def test_a_row_that_failed_says_why() -> None:
    assert roads.text_of(roads.Row("model", "arm/chip", why="no toolchain")).endswith("| no toolchain |")
