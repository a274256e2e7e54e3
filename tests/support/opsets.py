"""Old models, run as they are in ONNX Runtime and run again after the conversion."""

from pathlib import Path

import numpy as np
import onnx

from npuopt.graph import Model, Session, load, opset

DRAW = np.random.default_rng(0)


def convert(folder: Path, text: str, version: int) -> tuple[Path, Model]:
    path = folder / "old.onnx"
    proto = onnx.parser.parse_model(f'<ir_version: 6, opset_import: ["" : {version}]> {text}')
    path.write_bytes(proto.SerializeToString())
    return path, load(path)


def floats(*shape):
    return DRAW.standard_normal(shape).astype(np.float32)


def assert_same(folder: Path, text: str, version: int, **feeds: np.ndarray) -> Model:
    path, model = convert(folder, text, version)
    assert opset(model) == 24
    old, new = Session(path, threads=1).run(feeds), Session(model, threads=1).run(feeds)
    assert list(old) == list(new)
    for name in old:
        assert old[name].dtype == new[name].dtype
        np.testing.assert_allclose(new[name], old[name], rtol=2e-6, atol=2e-6)
    return model


X = floats(2, 3, 4, 5)
SAME = "(float[2,3,4,5] x) => (float[2,3,4,5] y)"
ANY = "(float[2,3,4,5] x) => (float[] y)"


def unknown_rank(body: str) -> str:
    """Hide the rank of t, which comes from x, behind a Reshape to a computed shape."""
    return f"""g (float[2,3,4,5] x, int64[r] s) => (float[a,b,c,d] y) {{ t = Reshape(x, s) {body} }}"""
