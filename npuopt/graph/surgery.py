# pyright: basic
# onnx-graphsurgeon has no type hints; this module is the only one that touches it.
"""Runs a user's onnx-graphsurgeon function on a model and keeps what graphsurgeon would lose.

A plain round trip through graphsurgeon drops doc strings, metadata, quantization annotations, default inputs and
attributes of rare types, copies constants into subgraphs, and reads every weight. Here the function sees a header
whose large weights are read only when it asks for their values, and what was lost of nodes and values that are still
there is put back.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnx_ir as ir
from onnx_graphsurgeon.ir.tensor import LazyValues
from onnx_graphsurgeon.logger import G_LOGGER

from npuopt.errors import InputError
from npuopt.graph.headers import graph_protos, hidden_index, weights_hidden
from npuopt.graph.loading import check
from npuopt.graph.queries import graphs_of, opset
from npuopt.graph.surgery_losses import restore, strip

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Surgery = Callable[[gs.Graph], gs.Graph | None]

_LARGE = 1024
"""Bytes from which a weight is shown to graphsurgeon as a placeholder."""


class _OnDemand(LazyValues):
    """The values of a weight that is still where it was."""

    def __init__(self, placeholder: onnx.TensorProto, source: ir.TensorProtocol) -> None:
        super().__init__(placeholder)
        self._source = source

    def load(self) -> np.ndarray:
        """Return a copy that may be written to."""
        return np.array(self._source.numpy())


def run_surgery(model: ir.Model, surgery: Surgery) -> None:
    """Run a graphsurgeon function on the model, in place.

    Args:
        model: changed only when everything went well. Its functions are not shown to `surgery`, and stay.
        surgery: changes the `gs.Graph` it is given, or returns another one. It may read and set `Constant.values`.

    Raises:
        InputError: when `surgery` raises, changes the opset, or leaves what is not a valid model.
    """
    name = f"surgery {getattr(surgery, '__name__', surgery)!s}"
    with weights_hidden(model, _is_large) as hidden:
        proto = ir.to_proto(model)
    stripped = strip(proto)
    with _quiet():
        try:
            graph = gs.import_onnx(proto)
            _load_on_demand(graph, hidden)
            exported = gs.export_onnx(surgery(graph) or graph)
        except Exception as error:
            raise InputError(f"raised {type(error).__name__}: {error}", where=name) from error
    operated = _read_back(exported, hidden, name)
    restore(operated, model, stripped)
    if opset(operated) != opset(model):
        raise InputError(f"changed the opset from {opset(model)} to {opset(operated)}", where=name)
    operated.graph.sort()
    check(operated, where=name)
    model.graph = operated.graph
    model.functions.update({key: value for key, value in operated.functions.items() if key not in model.functions})


def _is_large(tensor: ir.TensorProtocol) -> bool:
    return tensor.dtype != ir.DataType.STRING and tensor.nbytes >= _LARGE


@contextmanager
def _quiet() -> Generator[None]:
    before = G_LOGGER.severity
    G_LOGGER.severity = G_LOGGER.ERROR
    try:
        yield
    finally:
        G_LOGGER.severity = before


def _load_on_demand(graph: gs.Graph, hidden: list[ir.TensorProtocol]) -> None:
    for holder in (graph, *graph.subgraphs(recursive=True)):
        for tensor in holder.tensors().values():
            values = getattr(tensor, "_values", None)
            if isinstance(values, LazyValues) and not isinstance(values, _OnDemand):
                index = hidden_index(values.tensor)
                if index is not None:
                    tensor.values = _OnDemand(values.tensor, hidden[index])


def _read_back(proto: onnx.ModelProto, hidden: list[ir.TensorProtocol], name: str) -> ir.Model:
    for graph in graph_protos(proto.graph):
        for tensor in graph.initializer:
            if hidden_index(tensor) is None:
                tensor.ClearField("data_location")  # a placeholder's, left on a weight whose values were set
    try:
        model = ir.from_proto(proto)
    except (ir.serde.SerdeError, ValueError) as error:
        raise InputError(f"left an invalid model: {error.__cause__ or error}", where=name) from None
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = hidden[tensor.offset or 0]
    return model
