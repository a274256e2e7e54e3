"""A network whose last layers are far less exact in integers than its first: differences of large numbers."""

from pathlib import Path

import numpy as np

from npuopt.graph import save
from support.rewrites import model_from


def write_differences(folder: Path) -> None:
    """Write the network as m.onnx, six nodes with two products, and twelve samples to calibrate with as c.npz."""
    random = np.random.default_rng(0)
    weight = "{" + ",".join(f"{number:.4f}" for number in random.normal(0, 0.3, 256)) + "}"
    text = f"""(float[4,16] x) => (float[4,16] y) <float[16,16] v = {weight}, float[16,16] w = {weight}>
    {{a = MatMul(x, v) b = Relu(a) c = MatMul(b, w) d = Sub(c, b) e = Sub(d, c) y = Sub(e, a)}}"""
    save(model_from(text), folder / "m.onnx")
    np.savez(folder / "c.npz", x=random.normal(0, 1, (12, 4, 16)).astype(np.float32))
