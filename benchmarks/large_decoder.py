"""Compiles a LLaMA-like decoder of 1.1 billion random weights in half precision: `python -m benchmarks.large_decoder`.

The model is written into a temporary folder, weights beside it, and compiled for ONNX Runtime with weights of 4 bits in
blocks of 32; the folder goes afterwards. Printed are the processor's seconds, the largest resident memory, and sizes.
Its sizes are TinyLlama's: 22 layers of 2048, 32 heads of queries and 4 of keys and values, 5632 inside.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

GIB = 1 << 30


@dataclass(frozen=True)
class Sizes:
    """What the decoder measures."""

    layers: int = 22
    width: int = 2048
    heads: int = 32
    groups: int = 4
    inside: int = 5632
    vocabulary: int = 32000
    positions: int = 2048

    @property
    def head(self) -> int:
        """Numbers in a head."""
        return self.width // self.heads


class Writer:
    """Collects nodes, and writes weights into a file as they come."""

    def __init__(self, path: Path) -> None:
        self.path, self.nodes, self.tensors, self.count = path, list[onnx.NodeProto](), list[onnx.TensorProto](), 0
        self._data = path.with_name(f"{path.name}.data").open("wb")
        self._random = np.random.default_rng(0)

    def node(self, kind: str, *inputs: str, to: str, **attributes: object) -> str:
        """Add a node of one output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [to], name=to, **attributes))
        return to

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a small constant, in the model itself."""
        self.tensors.append(onnx.numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Add a random matrix of half precision, row by row, in the file beside the model."""
        start = self._data.tell()
        spread = np.float16(shape[-1] ** -0.5)
        for _ in range(0, shape[0], 1024):
            rows = min(1024, shape[0] - (self._data.tell() - start) // (2 * shape[1]))
            self._data.write((self._random.standard_normal((rows, *shape[1:]), np.float32) * spread).astype("<f2"))
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT16, data_location=TensorProto.EXTERNAL)
        places = {"location": f"{self.path.name}.data", "offset": start, "length": self._data.tell() - start}
        for key, value in places.items():
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)
        self.count += int(np.prod(shape))
        return name

    def close(self) -> None:
        """Finish the file of weights."""
        self._data.close()


def write_decoder(path: Path, sizes: Sizes) -> int:
    """Write the model and return how many weights it has."""
    writer, half = Writer(path), TensorProto.FLOAT16
    frequencies = 10000.0 ** -(np.arange(0, sizes.head, 2) / sizes.head)
    angles = np.arange(sizes.positions)[:, None] * frequencies
    for name, array in (("cosines", np.cos(angles)), ("sines", np.sin(angles))):
        writer.constant(name, array.astype(np.float16))
    writer.constant("scale", np.ones(sizes.width, np.float16))
    writer.node("Gather", writer.weight("table", sizes.vocabulary, sizes.width), "input_ids", to="embedded")
    for name in ("cosines", "sines"):
        writer.node("Gather", name, "position_ids", to=f"{name}_now")
    cached: dict[str, list[onnx.ValueInfoProto]] = {"past": [], "present": []}
    hidden = "embedded"
    for index in range(sizes.layers):
        hidden = _layer(writer, sizes, f"layer{index}", hidden)
        for kind in ("key", "value"):
            for end, length in (("past", "past"), ("present", "total")):
                shape = ["batch", sizes.groups, length, sizes.head]
                cached[end].append(helper.make_tensor_value_info(f"{end}.{index}.{kind}", half, shape))
    writer.node("RMSNormalization", hidden, "scale", to="normalized", epsilon=1e-5)
    writer.node("MatMul", "normalized", writer.weight("head", sizes.width, sizes.vocabulary), to="logits")
    writer.close()
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "new"])
        for name in ("input_ids", "position_ids")
    ]
    logits = helper.make_tensor_value_info("logits", half, ["batch", "new", sizes.vocabulary])
    graph = helper.make_graph(
        writer.nodes, "decoder", [*ids, *cached["past"]], [logits, *cached["present"]], writer.tensors
    )
    model = helper.make_model(graph, ir_version=11, opset_imports=[helper.make_opsetid("", 24)])
    path.write_bytes(model.SerializeToString())
    return writer.count


def _layer(writer: Writer, sizes: Sizes, name: str, hidden: str) -> str:
    """Add a layer and return what it gives."""

    def part(kind: str) -> str:
        return f"{name}.{kind}"

    index = name.removeprefix("layer")
    normal = writer.node("RMSNormalization", hidden, "scale", to=part("normal"), epsilon=1e-5)
    heads: dict[str, str] = {}
    for kind, count in (("query", sizes.heads), ("key", sizes.groups), ("value", sizes.groups)):
        weight = writer.weight(part(f"{kind}_weight"), sizes.width, count * sizes.head)
        product = writer.node("MatMul", normal, weight, to=part(f"{kind}_product"))
        shape = writer.constant(part(f"{kind}_shape"), np.array([0, 0, count, sizes.head]))
        split = writer.node("Reshape", product, shape, to=part(f"{kind}_split"))
        heads[kind] = writer.node("Transpose", split, to=part(kind), perm=[0, 2, 1, 3])
        if kind != "value":
            heads[kind] = writer.node(
                "RotaryEmbedding", heads[kind], "cosines_now", "sines_now", to=part(f"{kind}_turned")
            )
    outputs = [part("mixed"), f"present.{index}.key", f"present.{index}.value"]
    inputs = [*heads.values(), "", f"past.{index}.key", f"past.{index}.value"]
    writer.nodes.append(helper.make_node("Attention", inputs, outputs, name=part("attention"), is_causal=1))
    back = writer.node("Transpose", outputs[0], to=part("back"), perm=[0, 2, 1, 3])
    joined = writer.node(
        "Reshape", back, writer.constant(part("join"), np.array([0, 0, sizes.width])), to=part("joined")
    )
    output = writer.node("MatMul", joined, writer.weight(part("output"), sizes.width, sizes.width), to=part("out"))
    added = writer.node("Add", hidden, output, to=part("added"))
    normal = writer.node("RMSNormalization", added, "scale", to=part("normal2"), epsilon=1e-5)
    gate, up = (
        writer.node("MatMul", normal, writer.weight(part(f"{kind}_weight"), sizes.width, sizes.inside), to=part(kind))
        for kind in ("gate", "up")
    )
    swished = writer.node("Mul", gate, writer.node("Sigmoid", gate, to=part("sigmoid")), to=part("swish"))
    both = writer.node("Mul", swished, up, to=part("gated"))
    down = writer.node("MatMul", both, writer.weight(part("down"), sizes.inside, sizes.width), to=part("fallen"))
    return writer.node("Add", added, down, to=part("given"))


def main() -> int:
    """Write the model, compile it in a child process, and print the figures; 1 when that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_decoder", description=__doc__)
    parser.add_argument("--layers", type=int, default=Sizes.layers)
    parser.add_argument("--target", default="host/onnxruntime")
    parser.add_argument("--precision", default="w4")
    parser.add_argument("--rounding", default="nearest", help="least-squares takes many times as long")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made; 4 GB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder, "model.onnx")
        weights = write_decoder(path, Sizes(layers=arguments.layers))
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        print(f"model: {weights / 1e9:.2f} billion weights, {size / 1e9:.2f} GB", flush=True)
        command = [sys.executable, "-m", "npuopt", "compile", str(path), "-o", str(Path(folder, "out"))]
        command += ["--target", arguments.target, "--precision", arguments.precision, "--verify", "off"]
        command += ["--rounding", arguments.rounding]
        done = subprocess.run([*command, "--context", "1024", "--chunk", "128"], check=False, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        files = [file for file in Path(folder, "out").rglob("*") if file.is_file()]
        made = sum(file.stat().st_size for file in files)
        print(
            f"{arguments.target} {arguments.precision}: exit code {done.returncode},"
            f" {used.ru_utime + used.ru_stime:.0f} s of CPU time, {used.ru_maxrss * 1024 / GIB:.2f} GiB at most,"
            f" artifact {made / 1e9:.2f} GB"
        )
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
