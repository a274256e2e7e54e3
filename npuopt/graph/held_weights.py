"""Hands constants that lie in files to ONNX Runtime without a copy, or each once for all sessions of the process."""

from __future__ import annotations

import os
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from npuopt.graph.headers import to_proto
from npuopt.graph.mapped import InFile
from npuopt.graph.queries import element_type, graphs_of, is_constant, is_op, nodes, producer

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST_HELD = 16 << 10
"""Bytes from which a constant is handed over; ONNX Runtime's own optimizer wants to see the small ones."""

FOLDER = "session.model_external_initializers_file_folder_path"
"""The session entry that says where the files of a model that comes as bytes lie."""

_EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8)

_held: weakref.WeakValueDictionary[tuple[object, ...], Any] = weakref.WeakValueDictionary()


def hand_over(model: ir.Model, options: Any, *, shared: bool) -> tuple[bytes, list[Any]]:  # noqa: ANN401 -- untyped
    """Take the large constants out of a model that lie in files, and say in the options of a session where they are.

    Args:
        model: stays as it is.
        options: ONNX Runtime's SessionOptions.
        shared: hand over the constants themselves, mapped once for all sessions of the process; else the runtime
            reads them from the files, which have to be in place, and keeps what it makes of them.

    Returns:
        The model's bytes, and what must live as long as the session does.
    """
    values = [value for value in model.graph.initializers.values() if _is_held(value.const_value)]
    tensors: list[Any] = [value.const_value for value in values]
    if not values:
        return to_proto(model).SerializeToString(), []
    folder = os.path.commonpath([tensor.source.path.resolve().parent for tensor in tensors])
    kept: list[Any] = []
    try:
        for value, tensor in zip(values, tensors, strict=True):
            place = tensor.source.path.resolve().relative_to(folder)
            value.const_value = _pointer(tensor, place)
            if shared:
                kept.append(_ort_value(tensor))
                options.add_initializer(value.name, kept[-1])
        content = to_proto(model).SerializeToString()
    finally:
        for value, tensor in zip(values, tensors, strict=True):
            value.const_value = tensor
    options.add_session_config_entry(FOLDER, folder)  # looked at, though nothing is read from there
    return content, kept


def lies_in_files(model: ir.Model, elsewhere: int) -> bool:
    """Say whether constants lie in files that are in place, but for so many bytes of others at most."""
    held: list[Any] = []
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            if graph is model.graph and _is_held(value.const_value):
                held.append(value.const_value)
            elif value.const_value is not None:
                elsewhere -= value.const_value.nbytes
    return bool(held) and elsewhere >= 0 and all(source.is_in_place for source in {one.source for one in held})


def multiplies_integers(model: ir.Model) -> bool:
    """Say whether ONNX Runtime may compute with signed 8-bit constants as they are, together with 8-bit activations.

    Its kernels for those saturate on CPUs without VNNI, which unsigned copies of the constants prevent.
    """
    for node in nodes(model):
        if node.op_type.startswith("QLinear") or node.op_type.endswith("Integer"):
            return True
        sources = [_dequantized(value) for value in node.inputs]
        eight = [value for value in sources if value is not None and element_type(value) in _EIGHT_BITS]
        if any(map(is_constant, eight)) and not all(map(is_constant, eight)):
            return True
    return False


def _dequantized(value: ir.Value | None) -> ir.Value | None:
    """Return what a value is dequantized from."""
    maker = producer(value)
    return maker.inputs[0] if maker is not None and is_op(maker, "DequantizeLinear") else None


def _is_held(tensor: object) -> bool:
    return isinstance(tensor, InFile) and tensor.length >= SMALLEST_HELD


def _pointer(tensor: Any, place: Path) -> ir.ExternalTensor:  # noqa: ANN401 -- mapped tensors are of two classes
    shape = ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor(
        place.as_posix(), tensor.offset, tensor.length, tensor.dtype, shape=shape, name=tensor.name
    )


def _ort_value(tensor: Any) -> Any:  # noqa: ANN401 -- ONNX Runtime has no types
    """Return ONNX Runtime's view of a mapped tensor: the one that other sessions have, where there is one."""
    shape = tuple(tensor.shape.numpy())
    key = (*tensor.source.identity, tensor.offset, tensor.dtype, shape)
    if key not in _held:
        kind: Any = import_module("onnxruntime").OrtValue
        raw = np.frombuffer(tensor.source.view(tensor.offset, tensor.length), np.uint8)
        if tensor.dtype.bitwidth < 8:  # the runtime counts elements, and reads as many bytes as they take when packed
            array = np.lib.stride_tricks.as_strided(raw, shape, _packed_strides(shape), writeable=False)
        else:
            array = raw.view(f"<u{tensor.dtype.bitwidth // 8}").reshape(shape)
        value = kind.ortvalue_from_numpy_with_onnx_type(array, int(tensor.dtype))
        value.mapped = raw  # keeps the mapping while the value lives
        _held[key] = value
        return value
    return _held[key]


def _packed_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
