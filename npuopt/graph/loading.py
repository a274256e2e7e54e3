"""Reads ONNX files: header first, weights mapped, every check made before the first pass runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx.checker
import onnx_ir as ir
from google.protobuf.message import DecodeError

from npuopt.errors import InputError
from npuopt.graph.constant_nodes import lift_constants
from npuopt.graph.headers import attribute_tensors, graph_protos, header_proto, without_external_data
from npuopt.graph.inference import drop_defaults, drop_notes, inferred_proto, note_shapes
from npuopt.graph.opset_conversion import CANONICAL_IR_VERSION, CANONICAL_OPSET, check_opset, convert_opset
from npuopt.graph.queries import STANDARD_DOMAINS, graphs_of, nodes_in
from npuopt.graph.shadowing import end_shadowing
from npuopt.graph.weight_files import WeightFiles
from npuopt.graph.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

_INFERRED = "npuopt.shapes-inferred"


def load(path: str | PathLike[str]) -> ir.Model:
    """Read an ONNX file into the canonical opset.

    Weights are not read: they stay mapped where they are, in the .onnx file or next to it. Subgraphs and functions
    are kept; Constant nodes become initializers; initializers that IR versions before 4 had to list as inputs are
    inputs no longer; initializers of subgraphs do not share a name with what they would hide; types and shapes are
    inferred as far as the model's own notes allow.

    Raises:
        InputError: when it is not a valid ONNX model, when weights are missing, lie outside the model's folder or
            have the wrong size, or when the opset cannot be converted.
    """
    path = Path(path)
    proto, files = _read(path)
    for tensor in _tensor_protos(proto):
        files.check(tensor)
    inferred = _checked_and_inferred(proto, where=str(path))
    try:
        model = ir.from_proto(proto)
        _map_weights(model, files)
        _own_initializers(model)
        if all(domain not in model.opset_imports for domain in STANDARD_DOMAINS):
            model.opset_imports[""] = CANONICAL_OPSET  # passes emit standard ops, whatever the model has
        end_shadowing(model)
        lift_constants(model)
        _require_text(model)
    except (ir.serde.SerdeError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise InputError(f"not a valid ONNX model: {_root_cause(error)}", where=str(path)) from None
    check_opset(model, where=str(path))
    if inferred is not None:
        note_shapes(model, inferred)
        model.meta[_INFERRED] = True
    convert_opset(model, where=str(path))
    return model


def take_inferred(model: ir.Model) -> bool:
    """Say whether `load` inferred all shapes; only once, as whoever asks keeps track of changes from then on."""
    return bool(model.meta.pop(_INFERRED, False))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] -- a UserDict without type arguments


def check(model: ir.Model, where: str = "") -> None:
    """Run the ONNX checker on the model without its weights.

    Raises:
        InputError: naming the node at fault, where the checker does.
    """
    try:
        proto = header_proto(model)
    except ir.serde.SerdeError as error:
        raise InputError(f"not a valid ONNX model: {_root_cause(error)}", where=where) from None
    _check_proto(proto, where)


def _checked_and_inferred(proto: onnx.ModelProto, where: str) -> onnx.ModelProto | None:
    """Check what a file holds and infer its shapes; None where what it declares contradicts itself.

    That is an error to whoever needs shapes, later. What the file notes of values between is not believed: it may
    be of another export.
    """
    copy = without_external_data(proto)
    copy.ir_version = max(copy.ir_version, CANONICAL_IR_VERSION)
    _check_proto(copy, where)
    copy.CopyFrom(proto)
    if copy.ir_version >= 4:  # initializers that are inputs too are mere defaults
        drop_defaults(copy.graph)
    for graph in graph_protos(copy.graph):
        drop_notes(graph)
    try:
        return inferred_proto(copy)
    except InputError:
        return None


def _check_proto(proto: onnx.ModelProto, where: str) -> None:
    """Run the checker on a proto that is for it only."""
    _work_around_checker(proto)
    try:
        onnx.checker.check_model(proto)  # pyright: ignore[reportUnknownMemberType] -- os.PathLike without argument
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:  # the latter where it quotes a name
        raise InputError(f"not a valid ONNX model: {_checker_sentence(str(error))}", where=where) from None


def _read(path: Path) -> tuple[onnx.ModelProto, WeightFiles]:
    if not path.is_file():
        raise InputError("there is no such file", where=str(path))
    try:
        files = WeightFiles(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error})", where=str(path)) from None
    if files.model_file.size == 0:
        raise InputError("the file is empty", where=str(path))
    try:
        proto = onnx.ModelProto.FromString(files.header())
    except WireError as error:
        raise InputError(
            f"not an ONNX file, or a truncated one: {error}", where=str(path), hint="download or export it again"
        ) from None
    except DecodeError:
        raise InputError("not an ONNX file", where=str(path), hint="export it again") from None
    if not proto.HasField("graph"):
        raise InputError("not an ONNX file: it holds no graph", where=str(path), hint="export it again")
    _forget_negative_dims(proto)
    return proto, files


def _forget_negative_dims(proto: onnx.ModelProto) -> None:
    """Leave dims open that are declared as -1, which some exporters write for want of a size."""
    for graph in graph_protos(proto.graph):
        for info in (*graph.input, *graph.output, *graph.value_info):
            for dim in info.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    dim.ClearField("dim_value")


def _tensor_protos(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor in graphs, subgraphs and functions; refuse sparse ones."""
    for graph in graph_protos(proto.graph):
        if graph.sparse_initializer:
            name = graph.sparse_initializer[0].values.name
            raise InputError(f"initializer {name!r} is sparse, which is not supported", hint="store it densely")
        yield from graph.initializer
    yield from attribute_tensors(proto)


def _map_weights(model: ir.Model, files: WeightFiles) -> None:
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = files.tensor(value.const_value)
    for holder in (model.graph, *model.functions.values()):
        for node in nodes_in(holder):
            for name, attribute in tuple(node.attributes.items()):
                if isinstance(attribute.value, ir.ExternalTensor):
                    node.attributes[name] = ir.AttrTensor(
                        name, files.tensor(attribute.value), doc_string=attribute.doc_string
                    )


def _require_text(model: ir.Model) -> None:
    """Check that names are UTF-8; protobuf returns those as bytes that are not.

    Raises:
        UnicodeDecodeError: with the first that is not.
    """
    for holder in (*graphs_of(model), *model.functions.values()):
        for node in holder:
            made = (output.name for output in node.outputs)
            for name in (node.name, node.op_type, node.domain, *node.attributes, *made):
                if isinstance(name, bytes):
                    name.decode()


def _own_initializers(model: ir.Model) -> None:
    """Raise the IR version, and before 4 take the initializers out of the inputs, where they had to stand."""
    if model.ir_version < 4:
        for value in [value for value in model.graph.inputs if value.is_initializer()]:
            model.graph.inputs.remove(value)
    model.ir_version = max(model.ir_version, CANONICAL_IR_VERSION)


def _work_around_checker(proto: onnx.ModelProto) -> None:
    """Change what the checker refuses and ONNX does not, in a proto that is for the checker only."""
    for info in (*proto.graph.input, *proto.graph.output):
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.shape.SetInParent()  # unknown ranks are valid
    if not any(entry.domain in STANDARD_DOMAINS and 18 <= entry.version < 21 for entry in proto.opset_import):
        return
    for graph in graph_protos(proto.graph):
        for node in graph.node:  # deprecated in hindsight; to the checker the same as InstanceNormalization
            if node.op_type == "GroupNormalization" and node.domain in STANDARD_DOMAINS:
                node.op_type = "InstanceNormalization"
                kept = [attribute for attribute in node.attribute if attribute.name != "num_groups"]
                del node.attribute[:]
                node.attribute.extend(kept)


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:400]


def _checker_sentence(text: str) -> str:
    """Shorten the checker's report to what went wrong and the node it names."""
    node = re.search(r"Name: (\S*) OpType: (\S+)", text)
    sentence = " ".join(text.split("==>", maxsplit=1)[0].split())[:400].rstrip(". ")
    return f"{sentence} (at {node.group(1) or 'a nameless node'}, {node.group(2)})" if node else sentence
