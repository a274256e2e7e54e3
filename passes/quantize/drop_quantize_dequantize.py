"""Takes QuantizeLinear and DequantizeLinear out of a graph, and keeps what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from npuopt.graph import (
    DataType,
    Editor,
    constant,
    element_type,
    input_at,
    is_constant,
    is_op,
    label,
    only_user,
)
from npuopt.pipeline import Entry, Pass, Report
from npuopt.quantization.arithmetic import dequantize, quantize
from npuopt.quantization.incoming.quantized_model import Incoming, bits_of, encoding_at
from npuopt.target.views import QDQ_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.encodings import Encoding
    from npuopt.target import Target

MOVES = ("Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Ops of one data input that choose among its numbers, so that they do the same to floats."""

FOLLOWED = 8
"""Nodes behind a reader that it may be fused with, as far as each is the only reader of the one before."""


@dataclass(frozen=True)
class DropQuantizeDequantize(Pass):
    """QuantizeLinear and DequantizeLinear disappear, and the float graph that they stand for remains.

    `maker -> QuantizeLinear -> DequantizeLinear -> reader` becomes `maker -> reader`; an integer constant and its
    DequantizeLinear become the float constant that they amount to. Ops that move integers between the two move
    floats. What the pairs say is kept beside the graph, to be put in again where a target wants it.

    Left alone: a DequantizeLinear whose integers are a graph input or are made by other ops; a QuantizeLinear that
    makes a graph output or is read by other ops; parameters given at run time; blocks; activations with scales by
    channel; types other than integers of 4 to 32 bits; models with other floats than
    float32; branches and loop bodies; a graph output that is a constant.

    Attributes:
        found: the encodings of each run; no option.
    """

    name: ClassVar[str] = "drop-quantize-dequantize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    found: list[Incoming] = field(default_factory=list[Incoming], init=False, compare=False)

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Drop every pair of the main graph."""
        del target  # what it wants is asked when the encodings go in again
        report = Report(self.name)
        run = _Run(model, report)
        for node in list(model.graph):
            if _is(node, "DequantizeLinear"):
                run.drop(node)
        self.found.append(run.result())
        return report


class _Pair(NamedTuple):
    """One QuantizeLinear and DequantizeLinear: the float tensor, and who saw it so."""

    tensor: Value
    encoding: Encoding
    readers: tuple[Node, ...]
    is_output: bool = False


class _Run:
    """One run of the pass over one model."""

    def __init__(self, model: Model, report: Report) -> None:
        self._model = model
        self._report = report
        self._edit = Editor(model)
        self._incoming = Incoming()
        self._pairs: list[_Pair] = []
        self._floats: dict[Value, Value] = {}

    def drop(self, node: Node) -> None:
        """Let the readers of a DequantizeLinear read the float tensor that it stands for."""
        encoding, source, result = encoding_at(node), node.inputs[0], node.outputs[0]
        if isinstance(encoding, str) or source is None:
            self._decline(node, encoding if isinstance(encoding, str) else "it reads nothing")
        elif element_type(result) != DataType.FLOAT:
            self._decline(node, "it makes other floats than float32")
        elif is_constant(source):
            self._drop_constant(node, source, encoding)
        else:
            self._drop_pair(node, source, encoding)

    def result(self) -> Incoming:
        """Return what was found, each tensor's encodings told apart by its readers."""
        seen = {pair.tensor for pair in self._pairs}
        for node in self._model.graph:
            tensor = input_at(node, 0)
            if _is(node, "QuantizeLinear") and tensor is not None and tensor not in seen:
                encoding = encoding_at(node)
                if not isinstance(encoding, str) and not is_constant(tensor):
                    self._pairs.append(_Pair(tensor, encoding, (node,)))
        by_tensor: dict[Value, list[_Pair]] = {}
        for pair in self._pairs:
            by_tensor.setdefault(pair.tensor, []).append(pair)
        for tensor, pairs in by_tensor.items():
            self._settle(tensor, pairs)
        return self._incoming

    def _drop_constant(self, node: Node, source: Value, encoding: Encoding) -> None:
        """Replace a constant and its DequantizeLinear by floats."""
        held, result = constant(source), node.outputs[0]
        if held is None or result.is_graph_output():
            self._decline(node, "it makes a graph output of a constant")
            return
        integers = quantize(held, encoding) if held.dtype.kind == "f" else held
        value = self._edit.constant(dequantize(integers, encoding), near=node, name=result.name or "")
        self._incoming.tensors[value.name or ""] = encoding
        self._incoming.integers[value.name or ""] = integers
        self._incoming.constants.add(value.name or "")
        self._note(node, encoding)
        self._edit.replace(result, value)
        self._edit.erase_unread(node)
        if source.graph is not None and not source.uses() and not source.is_graph_output():
            source.graph.initializers.pop(source.name or "")

    def _drop_pair(self, node: Node, source: Value, encoding: Encoding) -> None:
        """Replace what is dequantized by what was quantized."""
        result = node.outputs[0]
        readers = tuple(use.node for use in result.uses())
        quantizer = _quantizer(source, encoding)
        if isinstance(quantizer, str):
            self._pairs.append(_Pair(result, encoding, readers, result.is_graph_output()))
            self._decline(node, quantizer)
            return
        tensor = quantizer.inputs[0]
        if tensor is not None and is_constant(tensor) and source is quantizer.outputs[0]:
            self._drop_constant(node, tensor, encoding)
            return
        if encoding.axis is not None:
            self._decline(node, "it is an activation with a scale for each channel, which no target takes")
            return
        value = self._float_of(source, quantizer)
        self._note(node, encoding)
        is_output = result.is_graph_output()
        self._edit.replace(result, value)
        self._pairs.append(_Pair(value, encoding, readers, is_output))
        self._edit.erase_unread(node)

    def _float_of(self, integers: Value, quantizer: Node) -> Value:
        """Return the float tensor of which `integers` are a quantization, moving it as they were moved."""
        maker = integers.producer()
        if maker is None or maker is quantizer:
            return quantizer.inputs[0] or integers
        if integers not in self._floats:
            moved = self._float_of(maker.inputs[0] or integers, quantizer)
            inputs = [moved, *maker.inputs[1:]]
            self._floats[integers] = self._edit.emit(
                maker.op_type, inputs, maker.attributes, before=maker, name=maker.name or ""
            )
        return self._floats[integers]

    def _settle(self, tensor: Value, pairs: list[_Pair]) -> None:
        """Note the encoding that all readers share as the tensor's own, others as those of single readers."""
        name = tensor.name or ""
        quantized = {reader for pair in pairs for reader in pair.readers}
        bare = any(use.node not in quantized and not _is(use.node, "QuantizeLinear") for use in tensor.uses())
        bare |= tensor.is_graph_output() and not any(pair.is_output for pair in pairs)
        ranked = sorted(pairs, key=lambda pair: (bits_of(pair.encoding), len(pair.readers)), reverse=True)
        own = None if bare else ranked[0].encoding
        if own is not None:
            self._incoming.tensors[name] = own
        for pair in ranked:
            for reader in pair.readers if pair.encoding != own else ():
                for output in _followed(reader):
                    self._incoming.uses.setdefault(output, {}).setdefault(name, pair.encoding)

    def _note(self, node: Node, encoding: Encoding) -> None:
        held = f"{encoding.dtype}{'' if encoding.axis is None else f' by axis {encoding.axis}'}"
        self._report.changed.append(Entry(label(node), node.op_type, f"kept beside the graph: {held}"))

    def _decline(self, node: Node, why: str) -> None:
        self._report.declined.append(Entry(label(node), node.op_type, why))


def _is(node: Node, op_type: str) -> bool:
    """Say whether the node is a QuantizeLinear or DequantizeLinear, ONNX Runtime's own included."""
    return node.op_type == op_type and node.domain in QDQ_DOMAINS


def _quantizer(integers: Value, encoding: Encoding) -> Node | str:
    """Return the QuantizeLinear that made the integers, or why they are no float tensor's."""
    maker = integers.producer()
    while maker is not None and encoding.axis is None and _moves(maker):
        maker = None if maker.inputs[0] is None else maker.inputs[0].producer()
    if maker is None or not _is(maker, "QuantizeLinear"):
        return "its integers are an input, or made by another op than QuantizeLinear"
    if encoding_at(maker) != encoding:
        return "its parameters are others than those of the QuantizeLinear"
    return maker


def _moves(node: Node) -> bool:
    return is_op(node, *MOVES) and not any(output.uses() for output in node.outputs[1:])


def _followed(reader: Node) -> Iterator[str]:
    """Yield the outputs of a reader and of what follows it alone."""
    node: Node | None = reader
    for _ in range(FOLLOWED):
        if node is None or not node.outputs:
            return
        yield node.outputs[0].name or ""
        node = only_user(node.outputs[0])
