"""Mixed precision as a user writes it: patterns of nodes, each with one of the target's schemes."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

from npuopt.errors import InputError, UsageError
from npuopt.graph import label, qualified_op_type
from npuopt.quantization.roles import data_inputs, is_float
from npuopt.target.positions import MAX_BYTES, read_yaml

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from pathlib import Path

    from npuopt.graph import Model, Node
    from npuopt.quantization.encodings import Encodings
    from npuopt.target import Target

    Pattern = tuple[str, str]


def read_precisions(path: Path) -> tuple[Pattern, ...]:
    """Read a YAML file of patterns and schemes, in its order.

        Softmax: a16w8                # an op type
        "/model/layers.0/*": a16w8    # names of nodes, or of what they make; * and ? as in file names
        lm_head: fp16

    Raises:
        InputError: when it cannot be read or says anything else.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"precisions file cannot be read: {error.strerror}", where=str(path)) from error
    document = read_yaml(text, str(path))
    if document.problems:
        raise InputError(str(document.problems[0]))
    entries = cast("Mapping[object, object]", document.data)
    for pattern, scheme in entries.items():
        if not isinstance(pattern, str) or not isinstance(scheme, str):
            where = str(document.position((str(pattern),), key=True))
            raise InputError(f"{pattern!r} needs the name of a scheme, not {scheme!r}", where=where)
    return tuple(cast("Mapping[str, str]", entries).items())


def precisions_text(encodings: Encodings) -> str:
    """Return a file for `read_precisions` with the nodes that are computed in another scheme than the model."""
    lines = [f"{json.dumps(name)}: {scheme}" for name, scheme in encodings.precisions.items()]
    return "\n".join([f"# beside --precision {encodings.scheme}", *(lines or ["{}"])]) + "\n"


def node_precisions(
    model: Model, target: Target, scheme: str, patterns: Iterable[Pattern], in_float: Container[str] = ()
) -> dict[str, str]:
    """Return which nodes the patterns have computed in another scheme than `scheme`, by their first output's name.

    A pattern names an op type, nodes, or what they make; later ones win over earlier ones. Nodes that the target does
    not take in the scheme stay as they are. Where no pattern says otherwise, nodes called as in `in_float` are computed
    in the target's float scheme; of a target without, those that it takes only in the integer scheme beside `scheme`
    are computed in that.

    Raises:
        UsageError: when the target has no such scheme, a pattern fits no node with float data, or the target takes
            none of those that it fits.
    """
    candidates = [node for node in model.graph if data_inputs(node) or any(is_float(made) for made in node.outputs)]
    beside = target.beside(scheme)
    chosen: dict[str, str] = {}
    if beside is not None:
        integer = target.scheme(beside).is_integer
        others = (node for node in candidates if integer or (node.name or "") in in_float)
        chosen = {
            node.outputs[0].name or "": beside
            for node in others
            if not integer or (target.accepts(node, beside) and not target.accepts(node, scheme))
        }
    for pattern, wanted in patterns:
        target.scheme(wanted)
        fitting = [node for node in candidates if _fits(node, pattern)]
        if not fitting:
            hint = "it is the type of an op, or the name of a node or of what it makes; * stands for anything"
            raise UsageError(f"no node with float data is called {pattern!r}", hint=hint)
        taken = [node for node in fitting if target.accepts(node, wanted)]
        if not taken:
            why = target.accepts(fitting[0], wanted).reasons[0]
            raise UsageError(f"{target.name} does not compute {label(fitting[0])} in {wanted}: {why}")
        chosen |= {node.outputs[0].name or "": wanted for node in taken}
    return {name: wanted for name, wanted in chosen.items() if wanted != scheme}


def _fits(node: Node, pattern: str) -> bool:
    names = (qualified_op_type(node), node.name, *(value.name for value in node.outputs))
    return any(name and (name == pattern or fnmatchcase(name, pattern)) for name in names)
