# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; only the worker imports this file.
"""A handed-over graph becomes a MIL program, and the program a Core ML package."""

import re

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import Function, Program, types
from coremltools.converters.mil.mil.block import curr_block
from onnx_to_mil import attention, elementwise, movement, palettes, products, quantized, reductions
from onnx_to_mil.table import EMITTERS, Node, Value, narrowed

FAMILIES = (attention, elementwise, movement, products, quantized, reductions)
INPUT_TYPES = {
    "float32": types.fp32,
    "float16": types.fp32,
    "int64": types.int32,
    "int32": types.int32,
    "bool": types.int32,  # Core ML has no ports of truth values: cast inside
}
PALETTIZED = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1}
"""Op type -> the input that is a weight."""


class RefusalError(Exception):
    """What the translator does not take, in one sentence."""


def port_name(name: str) -> str:
    """Return the name of an input or output as Core ML takes it."""
    return re.sub(r"\W", "_", name) if re.match(r"[A-Za-z_]", name) else "v_" + re.sub(r"\W", "_", name)


class Translator:
    """Translates one graph.

    Attributes:
        emitted: node name -> types of the MIL operations that it became; none where it was only passed on.
        held: name -> array of every weight that was emitted as integers or as indices.
    """

    def __init__(self, graph: dict, weights: dict, palette_bits: int) -> None:
        self.graph = graph
        self.palette_bits = palette_bits
        self.values = {name: narrowed(array) for name, array in weights.items()}
        self.types = graph["held_types"]
        self.emitted: dict[str, list] = {}
        self.held: dict[str, np.ndarray] = quantized.HELD
        self._palettes: dict[str, object] = {}

    def program(self, target: Value) -> Program:
        """Emit the whole graph."""
        states = self.graph["states"]
        names = {port["name"]: port_name(port["name"]) for port in (*self.graph["inputs"], *self.graph["outputs"])}
        if len(set(names.values())) != len(names):
            raise RefusalError("two inputs or outputs have names that Core ML cannot tell apart")
        placeholders = {names[port["name"]]: self._placeholder(port, states) for port in self.graph["inputs"]}
        program = Program()
        with Function(placeholders, opset_version=target) as function:
            for port in self.graph["inputs"]:
                self.values[port["name"]] = self._entered(function.inputs[names[port["name"]]], port)
            for item in self.graph["nodes"]:
                self._emit(item)
            for given, made in states.items():
                value = mb.cast(x=self.values[made], dtype="fp16")
                mb.coreml_update_state(state=function.inputs[names[given]], value=value)
            left = [port for port in self.graph["outputs"] if port["name"] not in states.values()]
            function.set_outputs([self._left(port, names[port["name"]]) for port in left])
        program.add_function("main", function)
        return program

    def _entered(self, given: Value, port: dict) -> Value:
        if port["name"] in self.graph["states"]:  # states are 16-bit; everything else becomes so at the end
            return mb.cast(x=mb.read_state(input=given), dtype="fp32")
        return mb.cast(x=given, dtype="bool") if port["type"] == "bool" else given

    def _left(self, port: dict, name: str) -> Value:
        value = self.values[port["name"]]
        is_bool = port["type"] == "bool"
        return mb.cast(x=value, dtype="int32", name=name) if is_bool else mb.identity(x=value, name=name)

    def _placeholder(self, port: dict, states: dict) -> Value:
        kind = INPUT_TYPES.get(port["type"])
        if kind is None:
            raise RefusalError(f"input {port['name']!r} has type {port['type']}, which Core ML does not take")
        if port["name"] in states:
            return mb.state_tensor_placeholder(port["shape"], types.fp16)
        return mb.placeholder(port["shape"], kind)

    def _emit(self, item: dict) -> None:
        emitter = EMITTERS.get(item["op_type"])
        if emitter is None:
            raise RefusalError(f"{item['op_type']} {item['name']} has no emitter")
        inputs = [self.values[name] if name else None for name in item["inputs"]]
        node = Node(item["name"], item["op_type"], inputs, item["outputs"], item["attributes"])
        if item["op_type"] == "DequantizeLinear":
            node.attributes["held_as"] = self.types.get(item["inputs"][0])
        before = len(curr_block().operations)
        self._palettize(node, item)
        try:
            made = emitter(node)
        except Exception as error:  # the emitters' and the vendor's own words
            raise RefusalError(f"{item['op_type']} {item['name']}: {error}") from error
        made = made if isinstance(made, list) else [made]
        self.values |= dict(zip(item["outputs"], made, strict=False))
        fresh = list(curr_block().operations)[before:]
        self.emitted[item["name"]] = [operation.op_type for operation in fresh if operation.op_type != "const"]

    def _palettize(self, node: Node, item: dict) -> None:
        place = PALETTIZED.get(node.op_type)
        weight = node.input(place) if self.palette_bits and place is not None else None
        if not isinstance(weight, np.ndarray) or weight.dtype.kind != "f" or weight.size < palettes.FEWEST:
            return
        name = item["inputs"][place]
        if name not in self._palettes:
            self._palettes[name], self.held[name] = palettes.palettized(weight, self.palette_bits)
        node.inputs[PALETTIZED[node.op_type]] = self._palettes[name]


def convert(graph: dict, weights: dict, deployment: str, palette_bits: int) -> tuple:
    """Return the Core ML model and the translator that knows what became of every node."""
    target = getattr(ct.target, deployment)
    translator = Translator(graph, weights, palette_bits)
    program = translator.program(target)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT16,
        skip_model_load=True,
    )
    return model, translator
