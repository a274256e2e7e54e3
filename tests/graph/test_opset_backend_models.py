"""The ONNX backend's own test models: converted, and run in ONNX Runtime before and after."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from npuopt.errors import InputError
from npuopt.graph import Session, load, opset

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
FOLDERS = sorted(path.parent for path in DATA.glob("*/*/model.onnx"))
LIGHT = sorted((DATA / "light").glob("*.onnx"))
RANDOM = ("bernoulli", "dropout", "training")


def read(path: Path) -> np.ndarray:
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def standard_opset(proto: onnx.ModelProto) -> int:
    return next((entry.version for entry in proto.opset_import if not entry.domain), 24)


def compare(path: Path, feeds: dict) -> str:
    """Run the file as it is and as it is loaded; say in a word what came of it."""
    try:
        model = load(path)
    except InputError:
        return "refused"
    try:
        old = Session(path, threads=1).run(feeds)
    except InputError:
        return "not run by ONNX Runtime as it is"
    new = Session(model, threads=1).run(feeds)
    for name in old:
        if isinstance(old[name], np.ndarray) and old[name].dtype.kind in "fiub":
            np.testing.assert_allclose(new[name], old[name], rtol=1e-5, atol=1e-6, err_msg=str(path))
    return "same"


def test_models_with_recorded_inputs():
    counts = Counter()
    for folder in FOLDERS:
        proto = onnx.load(folder / "model.onnx")
        if standard_opset(proto) < 7:
            counts["too old"] += 1
            continue
        weights = {tensor.name for tensor in proto.graph.initializer}
        names = [value.name for value in proto.graph.input if value.name not in weights]
        for data in sorted(folder.glob("test_data_set_*")):
            if all((data / f"input_{index}.pb").exists() for index in range(len(names))):
                feeds = {name: read(data / f"input_{index}.pb") for index, name in enumerate(names)}
                counts[compare(folder / "model.onnx", feeds)] += 1
    print(dict(counts))
    assert counts["same"] >= 20


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_light_networks(path):
    """Nine image classifiers of 2017, opset 9, whose weights are made by ConstantOfShape."""
    session = onnx.load(path)
    (image,) = [value for value in session.graph.input if value.name not in {t.name for t in session.graph.initializer}]
    shape = [dim.dim_value for dim in image.type.tensor_type.shape.dim]
    feeds = {image.name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
    assert compare(path, feeds) == "same"
    assert opset(load(path)) == 24


@pytest.mark.slow
def test_single_node_models(tmp_path):
    path = tmp_path / "model.onnx"
    counts = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases' own numpy code divides by zero on purpose
        cases = collect_testcases(None)
    for case in cases:
        if case.model is None or any(word in case.name for word in RANDOM) or standard_opset(case.model) > 24:
            continue
        path.write_bytes(case.model.SerializeToString())
        weights = {tensor.name for tensor in case.model.graph.initializer}
        names = [value.name for value in case.model.graph.input if value.name not in weights]
        for inputs, _ in case.data_sets:
            counts[compare(path, dict(zip(names, inputs, strict=False)))] += 1
    print(dict(counts))
    assert counts["same"] >= 1000
    assert counts["refused"] <= 10
