"""Compare every operator of a LiteRT artifact with ONNX Runtime, each on the same integers.

    python -m benchmarks.litert_layers ARTIFACT SAMPLES.npz [--kernels builtin] [--number 0] [--integers]

A whole network says little about its kernels: where a model is quantized so coarsely that one step more or less at the
input changes its outputs, any other rounding does too. So three things are measured on one sample:

- each operator alone: ONNX Runtime computes every node from the integers that LiteRT computed just ahead of it;
- the network: LiteRT against ONNX Runtime, as the artifact's `compiled` stage has it;
- the network's own sensitivity: ONNX Runtime against itself, with one element in a thousand of the inputs moved by one
  step of their encoding; and with one in a thousand of what each product makes, as another rounding of them would.

`--integers` keeps LiteRT's integer kernels for what it is coarse at, as vendors' compilers get the model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from npuopt.delegates.contract import Limits
from npuopt.delegates.litert.export import export
from npuopt.delegates.litert.interpret import interpret
from npuopt.delegates.litert.ports import save_ports
from npuopt.graph.execution import Session
from npuopt.verify.compare import compare_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

Arrays = dict[str, np.ndarray]
MOVED = 0.001
"""Share of the elements of a tensor that are moved by a step to see what a network makes of it."""
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Mul")
"""Ops whose results kernels round in different ways."""
FED = "/as-litert-has-it"
"""Ends the name of an input that stands for integers computed by LiteRT."""


@dataclass(frozen=True)
class Layer:
    """How far one tensor of integers is from ONNX Runtime's, in steps of its own."""

    name: str
    op_type: str
    kind: str
    differing: float
    largest: int
    sqnr_db: float


def main() -> int:
    """Print a table by operator, and what the whole network makes of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.litert_layers", description=__doc__)
    parser.add_argument("artifact", type=Path, help="folder that `npuopt compile` wrote for a target of this road")
    parser.add_argument("samples", type=Path, metavar="SAMPLES.npz", help="arrays of samples by input")
    parser.add_argument("--kernels", default="builtin", choices=("reference", "builtin", "xnnpack"))
    parser.add_argument("--number", type=int, default=0, help="of the sample")
    parser.add_argument("--integers", action="store_true", help="as a vendor's compiler gets the model")
    parser.add_argument("--worst", type=int, default=5, help="how many tensors to name")
    arguments = parser.parse_args()
    file = arguments.artifact / "model.onnx"
    model = onnx.load(file)
    sample = sample_of(model, arguments.samples, arguments.number)
    with tempfile.TemporaryDirectory(prefix="npuopt-layers-") as folder:
        found = layers(model, sample, arguments.kernels, Path(folder), interpreted=not arguments.integers)
        exported = export(file, Path(folder) / "whole.tflite", interpreted=not arguments.integers)
        save_ports(Path(folder) / "whole.json", exported.inputs, exported.outputs)
        whole = interpret(
            Path(folder) / "whole.tflite", Path(folder) / "whole.json", [sample], arguments.kernels, limits=Limits()
        )
    print_layers(found, arguments.worst)
    print_network(file, sample, whole[0])
    return 0


def sample_of(model: onnx.ModelProto, samples: Path, number: int) -> Arrays:
    """Return one sample, in the shapes that the model has."""
    sizes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in model.graph.input
    }
    with np.load(samples, allow_pickle=False) as arrays:
        return {name: arrays[name][number : number + 1].reshape(shape) for name, shape in sizes.items()}


def layers(
    model: onnx.ModelProto, sample: Arrays, kernels: str, folder: Path, *, interpreted: bool = True
) -> list[Layer]:
    """Compute every tensor of integers by LiteRT, then again by ONNX Runtime from LiteRT's integers ahead of it."""
    quantizers = {node.output[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    known = {value.name for value in model.graph.output}
    watched = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.name: value for value in (*watched.graph.value_info, *watched.graph.output)}
    watched.graph.output.extend(types[name] for name in quantizers if name not in known)
    onnx.save(watched, folder / "watched.onnx")
    exported = export(folder / "watched.onnx", folder / "watched.tflite", interpreted=interpreted)
    save_ports(folder / "watched.json", exported.inputs, exported.outputs)
    [computed] = interpret(
        folder / "watched.tflite", folder / "watched.json", [sample], kernels, limits=Limits(seconds=600)
    )
    onnx.save(cut(watched, {name: types[name] for name in quantizers}), folder / "cut.onnx")
    feeds = {**sample, **{name + FED: computed[name] for name in quantizers}}
    expected = Session(folder / "cut.onnx").run(feeds, list(quantizers))
    makers = {name: node for node in model.graph.node for name in node.output}
    return [
        layer(makers.get(quantizer.input[0]), name, computed[name], expected[name], zero_point(watched, quantizer))
        for name, quantizer in quantizers.items()
    ]


def cut(model: onnx.ModelProto, integers: Mapping[str, onnx.ValueInfoProto]) -> onnx.ModelProto:
    """Return the model with each tensor of integers read from an input of its own."""
    apart = onnx.ModelProto.FromString(model.SerializeToString())
    for node in apart.graph.node:
        for place, name in enumerate(node.input):
            if name in integers:
                node.input[place] = name + FED
    for name, value in integers.items():
        given = apart.graph.input.add()
        given.CopyFrom(value)
        given.name = name + FED
    return apart


def zero_point(model: onnx.ModelProto, quantizer: onnx.NodeProto) -> float:
    """Return a quantizer's zero point."""
    stored = next((item for item in model.graph.initializer if item.name == quantizer.input[2]), None)
    return 0.0 if stored is None else float(onnx.numpy_helper.to_array(stored).reshape(-1)[0])


def layer(maker: onnx.NodeProto | None, name: str, got: np.ndarray, wanted: np.ndarray, zero: float) -> Layer:
    """Compare one tensor."""
    steps = got.astype(np.int64) - wanted.astype(np.int64)
    signal, noise = float(((wanted - zero) ** 2).sum()), float((steps**2).sum())
    level = 10 * np.log10(signal / noise) if noise and signal else np.inf
    op_type = "(graph input)" if maker is None else maker.op_type.replace("DequantizeLinear", "(another encoding)")
    return Layer(name, op_type, str(got.dtype), float((steps != 0).mean()), int(np.abs(steps).max(initial=0)), level)


def print_layers(found: list[Layer], worst: int) -> None:
    """Print the layers by operator and element type, and name those that are furthest off."""
    print("| operator | integers | tensors | elements that differ, mean | most steps | least SQNR dB |")
    print("|---|---|---|---|---|---|")
    for op_type, kind in sorted({(one.op_type, one.kind) for one in found}):
        same = [one for one in found if (one.op_type, one.kind) == (op_type, kind)]
        share = float(np.mean([one.differing for one in same]))
        level = min(one.sqnr_db for one in same)
        print(f"| {op_type} | {kind} | {len(same)} | {share:.3%} | {max(one.largest for one in same)} | {level:.1f} |")
    print("\nfurthest off:")
    for one in sorted(found, key=lambda one: one.sqnr_db)[:worst]:
        print(f"- {one.op_type} {one.name}: {one.sqnr_db:.1f} dB, {one.differing:.3%} differ, by up to {one.largest}")


def print_network(file: Path, sample: Arrays, whole: Arrays) -> None:
    """Print how far LiteRT is from ONNX Runtime at the outputs, and ONNX Runtime from itself."""
    session = Session(file)
    expected = session.run(sample)
    pairs = {
        "LiteRT and ONNX Runtime": whole,
        "ONNX Runtime and itself, one element in a thousand a step higher": session.run(moved(file, sample)),
        "ONNX Runtime and itself, one element in a thousand of each product a step higher": moved_inside(file, sample),
    }
    print()
    for what, got in pairs.items():
        for name, compared in compare_runs([expected], [got]).items():
            print(f"{what}: {name}: cosine {compared.cosine:.6f}, {compared.sqnr_db:.1f} dB")


def moved(file: Path, sample: Arrays) -> Arrays:
    """Return the sample with a few elements of what is quantized a step higher."""
    graph, random = onnx.load(file).graph, np.random.default_rng(0)
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    steps = {node.input[0]: scales[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear"}
    return {
        name: array + steps[name] * (random.random(array.shape) < MOVED).astype(np.float32) if name in steps else array
        for name, array in sample.items()
    }


def moved_inside(file: Path, sample: Arrays) -> Arrays:
    """Run the model with a few elements of what each product makes a step higher as they become integers."""
    model, random = onnx.shape_inference.infer_shapes(onnx.load(file), strict_mode=True), np.random.default_rng(0)
    graph = model.graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.value_info}
    scales = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        made = node.input[0] if node.op_type == "QuantizeLinear" else ""
        if makers.get(made) in PRODUCTS and made in shapes:
            steps = scales[node.input[1]] * (random.random(shapes[made]) < MOVED).astype(np.float32)
            graph.initializer.append(onnx.numpy_helper.from_array(steps, f"{node.output[0]}/steps"))
            node.input[0] = f"{node.output[0]}/moved"
            nodes.append(onnx.helper.make_node("Add", [made, f"{node.output[0]}/steps"], [node.input[0]]))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    with tempfile.TemporaryDirectory(prefix="npuopt-layers-") as folder:
        onnx.save(model, Path(folder) / "moved.onnx")
        return Session(Path(folder) / "moved.onnx").run(sample)


if __name__ == "__main__":
    sys.exit(main())
