"""One run over a graph whose pairs of QuantizeLinear and DequantizeLinear are taken out and noted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from npuopt.graph import (
    DataType,
    Editor,
    constant,
    element_type,
    input_at,
    is_constant,
    label,
)
from npuopt.passes.quantize.quantization_chains import followed, is_quantization, quantizer_of
from npuopt.pipeline import Entry, Report
from npuopt.quantization.arithmetic import dequantize, quantize
from npuopt.quantization.incoming.quantized_model import Incoming, bits_of
from npuopt.quantization.node_encoding import encoding_at

if TYPE_CHECKING:
    from npuopt.graph import Model, Node, Value
    from npuopt.quantization.encodings import Encoding


class Pair(NamedTuple):
    """One QuantizeLinear and DequantizeLinear: the float tensor, and who saw it so."""

    tensor: Value
    encoding: Encoding
    readers: tuple[Node, ...]
    is_output: bool = False


class Removal:
    """One run of the pass over one model."""

    def __init__(self, model: Model, report: Report) -> None:
        self._model = model
        self._report = report
        self._edit = Editor(model)
        self._incoming = Incoming()
        self._pairs: list[Pair] = []
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
            if is_quantization(node, "QuantizeLinear") and tensor is not None and tensor not in seen:
                encoding = encoding_at(node)
                if not isinstance(encoding, str) and not is_constant(tensor):
                    self._pairs.append(Pair(tensor, encoding, (node,)))
        by_tensor: dict[Value, list[Pair]] = {}
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
        quantizer = quantizer_of(source, encoding)
        if isinstance(quantizer, str):
            self._pairs.append(Pair(result, encoding, readers, result.is_graph_output()))
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
        self._pairs.append(Pair(value, encoding, readers, is_output))
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

    def _settle(self, tensor: Value, pairs: list[Pair]) -> None:
        """Note the encoding that all readers share as the tensor's own, others as those of single readers."""
        name = tensor.name or ""
        quantized = {reader for pair in pairs for reader in pair.readers}
        bare = any(
            use.node not in quantized and not is_quantization(use.node, "QuantizeLinear") for use in tensor.uses()
        )
        bare |= tensor.is_graph_output() and not any(pair.is_output for pair in pairs)
        ranked = sorted(pairs, key=lambda pair: (bits_of(pair.encoding), len(pair.readers)), reverse=True)
        own = None if bare else ranked[0].encoding
        if own is not None:
            self._incoming.tensors[name] = own
        for pair in ranked:
            for reader in pair.readers if pair.encoding != own else ():
                for output in followed(reader):
                    self._incoming.uses.setdefault(output, {}).setdefault(name, pair.encoding)

    def _note(self, node: Node, encoding: Encoding) -> None:
        held = f"{encoding.dtype}{'' if encoding.axis is None else f' by axis {encoding.axis}'}"
        self._report.changed.append(Entry(label(node), node.op_type, f"kept beside the graph: {held}"))

    def _decline(self, node: Node, why: str) -> None:
        self._report.declined.append(Entry(label(node), node.op_type, why))
