"""`save`: streamed, atomic, and the same bytes every time."""

import errno
import os
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from npuopt.errors import InputError, UsageError
from npuopt.graph import Model, Session, infer_shapes, load, parse, save, to_text
from npuopt.graph.saving import replacing, save_sharing

X = np.ones((8, 64), np.float32)


def small_model() -> Model:
    """Two large weights, of which one is used under two names, a small one, and one in a subgraph."""
    model = parse("""<ir_version: 12, opset_import: ["" : 24]>
    g (float[8,64] x, bool c) => (float[8,64] y) {
        a = MatMul(x, w1)  b = MatMul(a, w2)  d = MatMul(b, w1_again)  s = Mul(d, scale)
        y = If(c) <then_branch = t () => (float[8,64] p) { p = Add(s, bias) },
                   else_branch = e () => (float[8,64] q) { q = Relu(s) }>
    }""")
    draw = np.random.default_rng(0)
    first = ir.tensor(draw.standard_normal((64, 64)).astype(np.float32) / 8)
    second = ir.tensor(draw.standard_normal((64, 64)).astype(np.float32) / 8)
    bias = ir.tensor(draw.standard_normal((8, 64)).astype(np.float32))
    branch = next(iter(model.graph.subgraphs()))
    places = [
        (model.graph, "w1", first),
        (model.graph, "w2", second),
        (model.graph, "w1_again", first),
        (model.graph, "scale", ir.tensor(np.float32(0.5))),
        (branch, "bias", bias),
    ]
    for graph, name, tensor in places:
        value = next(v for node in graph for v in node.inputs if v.name == name)
        value.const_value, value.shape, value.type = tensor, ir.Shape(tensor.shape.numpy()), ir.TensorType(tensor.dtype)
        graph.register_initializer(value)
    infer_shapes(model)  # as loading does
    return model


def outputs(model):
    return Session(model, threads=1).run({"x": X, "c": np.array(True)})["y"]


@pytest.mark.parametrize("external", [False, True])
def test_what_is_saved_comes_back(tmp_path, external):
    model = small_model()
    path = tmp_path / "m.onnx"
    save(model, path, external_data=external)
    again = load(path)
    assert to_text(again) == to_text(model)
    np.testing.assert_array_equal(outputs(again), outputs(model))
    np.testing.assert_array_equal(outputs(path), outputs(model))  # ONNX Runtime reads the file itself
    onnx.checker.check_model(path, full_check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == (["m.onnx", "m.onnx.data"] if external else ["m.onnx"])


def test_a_shared_weight_is_written_once(tmp_path):
    save(small_model(), tmp_path / "m.onnx", external_data=True)
    assert (tmp_path / "m.onnx.data").stat().st_size == 2 * 64 * 64 * 4 + 8 * 64 * 4
    save(load(tmp_path / "m.onnx"), tmp_path / "n.onnx", external_data=True)
    assert (tmp_path / "n.onnx.data").read_bytes() == (tmp_path / "m.onnx.data").read_bytes()


@pytest.mark.parametrize("external", [False, True])
def test_the_same_model_gives_the_same_bytes(tmp_path, external):
    save(small_model(), tmp_path / "a.onnx", external_data=external)
    first = [p.read_bytes() for p in sorted(tmp_path.iterdir())]
    save(load(tmp_path / "a.onnx"), tmp_path / "a.onnx", external_data=external)
    assert [p.read_bytes() for p in sorted(tmp_path.iterdir())] == first


def test_the_model_is_left_as_it_was(tmp_path):
    model = small_model()
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    save(model, tmp_path / "m.onnx", external_data=True)
    assert {name: value.const_value for name, value in model.graph.initializers.items()} == tensors


def test_over_the_limit_the_weights_go_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr("npuopt.graph.saving.LARGEST_SINGLE_FILE", 3 * 64 * 64 * 4 - 1)
    save(small_model(), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx.data").exists()
    monkeypatch.setattr("npuopt.graph.saving.LARGEST_SINGLE_FILE", 1 << 20)
    save(small_model(), tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx.data").exists()


def test_more_than_two_gib_do_not_fit_into_one_file(tmp_path):
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(3 << 30)
    model = parse('<ir_version: 12, opset_import: ["" : 24]> g (int64[2] i) => (float[2,256] y) { y = Gather(w, i) }')
    value = next(iter(model.graph)).inputs[0]
    shape = ir.Shape([3 << 20, 256])
    value.const_value = ir.ExternalTensor("w.bin", 0, None, ir.DataType.FLOAT, shape=shape, name="w", base_dir=tmp_path)
    value.shape, value.type = ir.Shape([3 << 20, 256]), ir.TensorType(ir.DataType.FLOAT)
    model.graph.register_initializer(value)
    with pytest.raises(InputError, match=r"do not fit into one \.onnx file; use external data"):
        save(model, tmp_path / "m.onnx", external_data=False)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("by_kernel", [True, False])
@pytest.mark.parametrize("external", [False, True])
def test_large_weights_are_copied_from_file_to_file(tmp_path, monkeypatch, external, by_kernel):
    model = parse('<ir_version: 12, opset_import: ["" : 24]> g (float[1024] x) => (float[1024] y) { y = MatMul(x, w) }')
    weight = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    value = next(v for node in model.graph for v in node.inputs if v.name == "w")
    value.const_value, value.shape, value.dtype = ir.tensor(weight), ir.Shape([1024, 1024]), ir.DataType.FLOAT
    model.graph.register_initializer(value)
    save(model, tmp_path / "a.onnx")
    if not by_kernel:  # as on a file system that cannot, and on systems that have no such call
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    save(load(tmp_path / "a.onnx"), tmp_path / "b.onnx", external_data=external)
    again = load(tmp_path / "b.onnx")
    np.testing.assert_array_equal(again.graph.initializers["w"].const_value.numpy(), weight)


def refuse(*arguments):
    raise OSError(errno.EXDEV, "not between these files")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="disk full"), replacing(path) as file:
        file.write(b"half")
        raise RuntimeError("disk full")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        save(small_model(), tmp_path / "nowhere" / "m.onnx")


@pytest.mark.slow
def test_loading_and_saving_never_hold_the_weights(tmp_path):
    """256 MiB of weights inside the .onnx pass through in less than a tenth of their size above the imports."""
    size = 256 << 20
    script = f"""
import resource, numpy as np, onnx, onnx.helper as oh, sys
from npuopt.graph import load, save
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
model = load("m.onnx")
assert model.graph.initializers["w"].const_value.nbytes == {size}
save(model, "n.onnx")
save(model, "o.onnx", external_data=True)
print(peak() - before)
"""
    w = np.arange(size // 4, dtype=np.float32).reshape(-1, 256)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["w", "i"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("i", 7, [2])],
        [onnx.helper.make_tensor_value_info("y", 1, [2, 256])],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 24)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=12), tmp_path / "m.onnx")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 0.1 * size
    assert (tmp_path / "o.onnx.data").stat().st_size == size
    np.testing.assert_array_equal(load(tmp_path / "n.onnx").graph.initializers["w"].const_value.numpy()[-1], w[-1])


def test_models_that_are_saved_together_share_equal_weights(tmp_path):
    first, second = small_model(), small_model()
    value = second.graph.initializers["w2"]
    value.const_value = ir.tensor(np.ones((64, 64), np.float32))
    save_sharing({"a": first, "b": second}, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "weights.data"]
    assert (tmp_path / "weights.data").stat().st_size == 3 * 64 * 64 * 4 + 8 * 64 * 4  # w1, w2, the other w2, bias
    for name, model in (("a", first), ("b", second)):
        np.testing.assert_array_equal(outputs(tmp_path / f"{name}.onnx"), outputs(model))
        assert to_text(load(tmp_path / f"{name}.onnx")) == to_text(model)
