"""The benchmark of all roads: its models with drawn weights, and how estimates are compared."""

import argparse
import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import road_estimates, road_rows, roads
from benchmarks.optimize import LIGHT_FOLDER
from benchmarks.road_rows import Row
from benchmarks.seeded_weights import seeded_weights
from npuopt.graph import load
from npuopt.graph.execution import Session
from npuopt.quantization.samples.data import open_samples


def test_drawn_weights_keep_activations_alive_and_are_the_same_again(tmp_path) -> None:
    for name in ("first.onnx", "second.onnx"):
        seeded_weights(LIGHT_FOLDER / "light_squeezenet.onnx", tmp_path / name)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    drawn = onnx.load(tmp_path / "first.onnx")
    assert "ConstantOfShape" not in {node.op_type for node in drawn.graph.node}
    filters = [array for tensor in drawn.graph.initializer if (array := numpy_helper.to_array(tensor)).ndim == 4]
    assert len(filters) == 26
    assert all(array.std() > 0 for array in filters)


@pytest.mark.parametrize("name", ["light_squeezenet", "light_inception_v1", "light_resnet50", "light_shufflenet"])
def test_drawn_weights_leave_something_to_compare(tmp_path, name) -> None:
    """One class that gets everything, or none that gets a step of 8 bits, would agree with any implementation."""
    seeded_weights(LIGHT_FOLDER / f"{name}.onnx", tmp_path / "drawn.onnx")
    model = load(tmp_path / "drawn.onnx")
    image = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
    (scores,) = Session(model).run({model.graph.inputs[0].name: image}).values()
    assert 4 / 256 < scores.max() < 0.5
    assert (scores > 0.5 / 256).sum() > 20


def test_a_light_model_comes_with_images_that_differ(tmp_path) -> None:
    subject = road_rows.subjects(tmp_path)["light_squeezenet"]
    road_rows.write_light("light_squeezenet", subject)
    samples = list(open_samples(str(tmp_path / subject.calibration), load(subject.file)))
    assert [sample["data_0"].shape for sample in samples] == [(1, 3, 224, 224)] * road_rows.LIGHT_SAMPLES
    assert not np.array_equal(samples[0]["data_0"], samples[1]["data_0"])


def test_estimates_are_compared_by_rank(capsys, monkeypatch) -> None:
    rows = [
        Row(
            *(str(cycles), "arm/chip"),
            figures={"cycles": cycles, "sram_bytes": 100},
            estimated_seconds=cycles / 2e9,
            estimated_peak=90,
        )
        for cycles in (1000, 3000, 2000)
    ]
    monkeypatch.setattr(road_estimates, "_clock", lambda target: 1e9)
    road_estimates.print_estimates(rows)
    printed = capsys.readouterr().out
    assert "rank correlation of estimated cycles over 3 rows: 1.000" in printed
    assert "| 1000 | arm/chip | 0.50 | 0.90 |" in printed


def test_a_row_that_failed_says_why() -> None:
    assert roads.text_of(Row("model", "arm/chip", why="no toolchain")).endswith("| no toolchain |")


def test_the_table_has_a_row_for_each_model_and_a_cell_for_each_compile(capsys) -> None:
    rows = [
        Row("cnn", "android/litert", "LiteRT, a16w8", npu_fraction=1.0, seconds=26.4, cosine=1.0, sqnr_db=81.96),
        Row(
            "cnn",
            "arm/chip",
            "Ethos-U55-128, a8w8",
            npu_fraction=1.0,
            seconds=3,
            sqnr_db=38.2,
            figures={"cycles": 127_530},
        ),
        Row("rnn", "android/litert", "LiteRT, a16w8", npu_fraction=0.5, edge=2, host_ops=("Pad",), sqnr_db=math.inf),
        Row("rnn", "arm/chip", "Ethos-U55-128, a8w8", seconds=1, why="no toolchain"),
    ]
    roads.print_table(rows)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "| model | LiteRT, a16w8 | Ethos-U55-128, a8w8 |",
        "|---|---|---|",
        "| cnn | 82 dB, 26 s | 38 dB, 0.128 M cycles, 3 s |",
        "| rnn | 50.0%, 2 at the edge, host: Pad, equal, 0 s | fails after 1 s |",
    ]


def test_a_column_is_chosen_by_its_first_words() -> None:
    parsed = argparse.Namespace(targets=[], columns=["Ethos-U", "RK3588, fp16"])
    assert [column.target for column in roads.chosen_columns(parsed)] == [
        "arm/ethos-u55-128",
        "arm/ethos-u85-512",
        "rockchip/rk3588",
    ]
    with pytest.raises(SystemExit, match="no column is called 'Ethos-U99'"):
        roads.chosen_columns(argparse.Namespace(targets=[], columns=["Ethos-U99"]))
