"""Sessions that take little memory give the numbers of those that take more."""

import gc
import subprocess
import sys
import textwrap
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from npuopt.errors import InputError
from npuopt.graph import Editor, Session, save
from npuopt.graph.held_weights import _held, multiplies_integers
from npuopt.graph.lean import open_lean
from support.rewrites import model_from

WIDTH = 256
TYPES = {
    "float": np.float32,
    "bfloat16": ml_dtypes.bfloat16,
    "int8": np.int8,
    "uint8": np.uint8,
    "uint4": ml_dtypes.uint4,
}


def write(path: Path, dtype: str, rows: int = 256) -> dict[str, np.ndarray]:
    """Write a Gemm whose weights of this type lie in a file beside the model, and return inputs for it."""
    step = "DequantizeLinear<axis = 0>(q, s)" if "int" in dtype else "Cast<to = 1>(q)"
    model = model_from(
        f"(float[4,{WIDTH}] x, {dtype}[{rows},{WIDTH}] q) => (float[4,{rows}] y) <float[1] s = {{0.5}}> "
        f"{{w = {step} y = Gemm<transB = 1>(x, w)}}"
    )
    draw = np.random.default_rng(3)
    numbers = draw.integers(0, 8, (rows, WIDTH)).astype(TYPES[dtype])
    first = next(iter(model.graph))
    first.replace_input_with(0, Editor(model).constant(numbers, near=first, name="table"))
    model.graph.inputs.pop()
    save(model, path, external_data=True)
    return {"x": draw.standard_normal((4, WIDTH)).astype(np.float32)}


@pytest.mark.parametrize("dtype", TYPES)
def test_the_numbers_are_the_same(tmp_path, dtype) -> None:
    feeds = write(tmp_path / "model.onnx", dtype)
    expected = Session(tmp_path / "model.onnx", optimize=True, threads=1).run(feeds)["y"]
    np.testing.assert_array_equal(open_lean(tmp_path / "model.onnx", threads=1).run(feeds)["y"], expected)


def test_sessions_hold_weights_once_and_let_them_go(tmp_path) -> None:
    feeds = write(tmp_path / "model.onnx", "int8")
    gc.collect()
    before = len(_held)
    sessions = [open_lean(tmp_path / "model.onnx", threads=1) for _ in range(3)]
    assert len(_held) == before + 1
    results = [session.run(feeds)["y"] for session in sessions]
    assert all(np.array_equal(result, results[0]) for result in results)
    del sessions
    gc.collect()
    assert len(_held) == before


def test_a_file_that_was_replaced_is_another(tmp_path) -> None:
    feeds = write(tmp_path / "model.onnx", "int8")
    first = open_lean(tmp_path / "model.onnx", threads=1)
    expected = first.run(feeds)["y"]
    data = tmp_path / "model.onnx.data"
    content = bytes(data.read_bytes())
    data.unlink()
    data.write_bytes(bytes(len(content)))
    second = open_lean(tmp_path / "model.onnx", threads=1)
    assert not second.run(feeds)["y"].any()
    np.testing.assert_array_equal(first.run(feeds)["y"], expected)


def test_what_is_no_model_is_said(tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(InputError, match="not an ONNX file"):
        open_lean(tmp_path / "model.onnx")


QUANTIZED = "a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) w = DequantizeLinear(q, s) y = MatMul(b, w)"


@pytest.mark.parametrize(
    ("activation", "weight", "body", "expected"),
    [
        ("uint8", "int8", QUANTIZED, True),
        ("uint16", "int8", QUANTIZED, False),
        ("uint8", "int4", QUANTIZED, False),
        ("uint8", "int8", "w = DequantizeLinear(q, s) y = MatMul(x, w)", False),
        ("uint8", "int8", "a = QuantizeLinear(x, s, z) i = MatMulInteger(a, q) y = Cast<to = 1>(i)", True),
    ],
)
def test_products_in_integers_are_known(activation, weight, body, expected) -> None:
    constants = f"float s = {{0.5}}, {activation} z = {{0}}, {weight}[2,2] q = {{1, 2, 3, 4}}"
    model = model_from(f"(float[2,2] x) => (float[2,2] y) <{constants}> {{{body}}}")
    assert multiplies_integers(model) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/smaps")
def test_two_sessions_hold_a_table_once_and_no_floats_of_it(tmp_path) -> None:
    """16 MiB of int8, 64 MiB as floats: the file is resident once, and both sessions together stay below the floats."""
    write(tmp_path / "model.onnx", "int8", rows=65536)
    program = f"""
        import re, resource
        from pathlib import Path
        import numpy as np
        import onnxruntime
        from npuopt.graph.lean import open_lean
        feeds = {{"x": np.ones((4, {WIDTH}), np.float32)}}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sessions = [open_lean(Path({str(tmp_path / "model.onnx")!r}), threads=1) for _ in range(2)]
        for session in sessions * 2:
            session.run(feeds)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        mapped = 0
        for block in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
            if "model.onnx.data" in block.partition("\\n")[0]:
                mapped += int(re.search(r"(?m)^Rss: +(\\d+)", block)[1])
        print(mapped // 1024, grown // 1024)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    mapped, grown = map(int, child.stdout.split())
    assert mapped <= 17
    assert grown < 60
