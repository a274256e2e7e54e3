"""An encoder on its way: its length fixed, and what hides padding a mask of its scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npuopt.decoder.dependence import depends_on_content
from npuopt.decoder.masks import HIDDEN
from npuopt.errors import InputError
from npuopt.graph import (
    Session,
    dims,
    element_type,
    extract,
    input_at,
    load,
    name_nodes,
    nodes,
    note_origins,
    rank,
    static_shape,
)
from npuopt.passes.freeze.freeze_dims import FreezeDims
from npuopt.passes.freeze.insert_source_inputs import InsertSourceInputs
from npuopt.pipeline.catalogue import find_pass
from npuopt.pipeline.recipes import CLEAN
from npuopt.pipeline.runner import Runner
from npuopt.road.preparation import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuopt.graph import Model, Value
    from npuopt.road.options import Say

ENCODER_MASK = "encoder_mask"
MASK = 3
"""The position of an attention's mask."""
VECTORS, BATCHED = 3, 2
"""Ranks of states, and of masks and tokens."""


@dataclass
class Encoder:
    """An encoder of fixed length.

    Attributes:
        model: cleaned and fused, all shapes static.
        input: what it takes: token ids [1, length], or numbers.
        vocabulary: rows of the table that tokens are looked up in; None for numbers.
        mask: the input for its mask, [1, 1, length, length]; empty where it takes none.
        states: its output.
        length, width: of the states.
    """

    model: Model
    input: str
    vocabulary: int | None
    mask: str
    states: str
    length: int
    width: int


def open_encoder(path: Path, length: int, *, say: Say) -> Encoder:
    """Load an encoder and give it a fixed length; a mask of padding becomes a mask of the scores.

    Args:
        path: the ONNX file.
        length: of a source, where the file leaves it free.
        say: told what is being done.

    Raises:
        InputError: when it is not clear what it takes, or what it gives.
    """
    say(f"loading {path}")
    model = load(path)
    name_nodes(model)
    note_origins(model)
    runner = Runner(None, "off")
    prepare(model, runner, {}, say=say)
    try:
        return _recognised(model, runner, length)
    except InputError as error:
        error.where = error.where or str(path)
        raise


def _recognised(model: Model, runner: Runner, length: int) -> Encoder:
    """Fix the length of a cleaned and fused encoder."""
    source, table = _input(model)
    others = [value for value in model.graph.inputs if value is not source]
    if len(others) > 1 or any(rank(value) != BATCHED for value in others):
        names = ", ".join(repr(value.name) for value in others)
        raise InputError(f"what the encoder's inputs {names} are for is not clear: one of [batch, source] is its mask")
    freeze_inputs(
        model,
        runner,
        {value.name or "": {0: 1, **dict.fromkeys(_free(value)[1:], length)} for value in model.graph.inputs},
    )
    mask = "" if not others else _mask_scores(model, runner, others[0].name or "")
    output = [value for value in model.graph.outputs if len(static_shape(value) or ()) == VECTORS]
    if len(output) != 1:
        raise InputError(f"which output has the encoder's states is not clear: {len(output)} are of rank 3 and static")
    _, states, width = static_shape(output[0]) or (1, 0, 0)
    rows = None if table is None else (static_shape(table) or (0,))[0]
    return Encoder(model, source.name or "", rows, mask, output[0].name or "", states, width)


def _input(model: Model) -> tuple[Value, Value | None]:
    """Return what an encoder takes, and the table that it looks it up in."""
    found = [
        (index, table)
        for node in nodes(model, "Gather")
        for table, index in [(node.inputs[0], _through(node.inputs[1]))]
        if index is not None
        and index.is_graph_input()
        and table is not None
        and len(static_shape(table) or ()) == BATCHED
    ]
    numbers = [value for value in model.graph.inputs if (kind := element_type(value)) and kind.is_floating_point()]
    if len({index for index, _ in found}) == 1:
        return found[0]
    if not found and len(numbers) == 1:
        return numbers[0], None
    names = ", ".join(repr(value.name) for value in (*dict.fromkeys(index for index, _ in found), *numbers)) or "none"
    raise InputError(f"what the encoder takes is not clear: candidates {names}")


def _through(value: Value | None) -> Value | None:
    while (
        value is not None and (node := value.producer()) is not None and node.op_type in ("Cast", "Identity", "Reshape")
    ):
        value = node.inputs[0]
    return value


def _free(value: Value) -> list[int]:
    return [0, *(axis for axis, size in enumerate(dims(value) or ()) if axis and not isinstance(size, int))]


def freeze_inputs(model: Model, runner: Runner, sizes: Mapping[str, Mapping[int, int]]) -> None:
    """Give axes of inputs their sizes, those that are free."""
    shapes = {value.name: dims(value) or () for value in model.graph.inputs}
    wanted = tuple(
        (f"{name}:{axis}", size)
        for name, axes in sizes.items()
        for axis, size in axes.items()
        if axis < len(shapes[name]) and not isinstance(shapes[name][axis], int)
    )
    runner.run(model, [FreezeDims(dims=wanted)])
    runner.run_until_stable(model, [find_pass(name)() for name in CLEAN])


def _mask_scores(model: Model, runner: Runner, name: str) -> str:
    """Let masks that are made of the input `name`, 1 where a token counts, be one input that is added to the scores.

    Raises:
        InputError: when they do more than hide padding and add a bias.
    """
    given = next(value for value in model.graph.inputs if value.name == name)
    content = depends_on_content(model, (given,))
    found = {
        mask.name or "": mask
        for node in nodes(model, "Attention")
        if (mask := input_at(node, MASK)) is not None and mask in content
    }
    length = (static_shape(given) or (1, 1))[1]
    whole, part = np.ones(length, np.int64), np.ones(length, np.int64)
    part[length // 2 + 1 :] = 0
    masks: list[tuple[str, np.ndarray | None]] = []
    if found:
        session = Session(extract(model, outputs=list(found)), threads=1, quiet=True)
        shapes = {value.name: static_shape(value) or () for value in model.graph.inputs}
        kinds = {name: session.input_type(name) for name in session.inputs}
        feeds = {other: np.zeros(shapes[other], kinds[other]) for other in session.inputs}
        all_shown = session.run({**feeds, name: whole[None].astype(kinds[name])})
        hidden = session.run({**feeds, name: part[None].astype(kinds[name])})
        masks += [(mask, _bias(mask, all_shown[mask], hidden[mask], part != 0)) for mask in found]
    runner.run(model, [InsertSourceInputs((), tuple(masks), ENCODER_MASK, (1, 1, length, length))])
    if any(value.name == name for value in model.graph.inputs):
        raise InputError(f"the encoder's input {name!r} does more than hide padding from attentions")
    runner.run_until_stable(model, [find_pass(item)() for item in CLEAN])
    return ENCODER_MASK if masks else ""


def _bias(name: str, whole: np.ndarray, part: np.ndarray, shown: np.ndarray) -> np.ndarray | None:
    """Return what a mask adds where it shows."""
    if whole.dtype == np.bool_:
        bias, is_sound = np.zeros(1, np.float32), bool(whole.all() and (part == shown).all())
    else:
        bias = whole
        is_sound = bool((whole > HIDDEN).all() and (part[..., ~shown] <= HIDDEN).all())
        is_sound = is_sound and np.array_equal(part[..., shown], whole[..., shown])
    if not is_sound:
        raise InputError(f"mask {name!r} of the encoder does more than hide padding and add a bias")
    return bias if bias.any() else None
