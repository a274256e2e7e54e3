"""The graph: onnx-ir behind a few verbs and questions. Importing this room imports onnx-ir."""

import logging

from npuopt.graph import deferred as deferred  # ahead of onnx-ir, on which it acts

# isort: split

from onnx_ir import DataType, Graph, Model, Node, Shape, TensorType, Value

from npuopt.graph.builder import Builder
from npuopt.graph.editor import Editor
from npuopt.graph.execution import Session
from npuopt.graph.extract import extract
from npuopt.graph.fingerprint import fingerprint
from npuopt.graph.headers import header_proto, to_proto
from npuopt.graph.inference import infer_node, infer_shapes
from npuopt.graph.loading import check, load
from npuopt.graph.mapped import release_mapped
from npuopt.graph.matcher import Anything, Constant, Either, Match, Number, Op, match
from npuopt.graph.node_names import name_nodes
from npuopt.graph.opset_older import write_down
from npuopt.graph.origins import Origin, note_origins, origins, scale_origins
from npuopt.graph.queries import (
    attribute,
    attribute_list,
    constant,
    dims,
    element_type,
    graphs_of,
    has_one_use,
    input_at,
    integers,
    is_constant,
    is_op,
    label,
    nodes,
    only_user,
    opset,
    producer,
    qualified_op_type,
    rank,
    scalar,
    static_shape,
    subgraphs_of,
    users,
)
from npuopt.graph.saving import save
from npuopt.graph.text import diff, parse, to_text
from npuopt.graph.unknown_ops import UnknownOp, unknown_ops

# What onnx-ir would say of a broken model on stderr, `load` says in its error; who wants the log can still have it.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())

__all__ = [
    "Anything",
    "Builder",
    "Constant",
    "DataType",
    "Editor",
    "Either",
    "Graph",
    "Match",
    "Model",
    "Node",
    "Number",
    "Op",
    "Origin",
    "Session",
    "Shape",
    "TensorType",
    "UnknownOp",
    "Value",
    "attribute",
    "attribute_list",
    "check",
    "constant",
    "diff",
    "dims",
    "element_type",
    "extract",
    "fingerprint",
    "graphs_of",
    "has_one_use",
    "header_proto",
    "infer_node",
    "infer_shapes",
    "input_at",
    "integers",
    "is_constant",
    "is_op",
    "label",
    "load",
    "match",
    "name_nodes",
    "nodes",
    "note_origins",
    "only_user",
    "opset",
    "origins",
    "parse",
    "producer",
    "qualified_op_type",
    "rank",
    "release_mapped",
    "save",
    "scalar",
    "scale_origins",
    "static_shape",
    "subgraphs_of",
    "to_proto",
    "to_text",
    "unknown_ops",
    "users",
    "write_down",
]
