"""The inputs and outputs of caches of a fixed size: names and lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npuopt.decoder import Decoder
    from npuopt.graph import Model, Value


def cache_length(window: int | None, context: int, most: int, form: str) -> int:
    """Return the places that a layer's cache has.

    With form `new`, the tokens of a run are seen beside the cache, which holds the window before them. With the
    others they are in it: it holds a window before the first of them too, and what padding behind the last of them
    overwrites lies outside of every window.
    """
    if window is None:
        return context
    return min(context, window if form == "new" else window + most)


def cache_outputs(decoder: Decoder, index: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the names of a layer's inputs and outputs of keys and of values: the model's own where it has some."""
    layer = decoder.layers[index]
    return (
        (layer.past_key or f"past_key_{index}", layer.present_key or f"present_key_{index}"),
        (layer.past_value or f"past_value_{index}", layer.present_value or f"present_value_{index}"),
    )


WRITE_POSITION = "write_position"


def mask_input(decoder: Decoder, window: int | None, bias: str = "") -> str:
    """Return what the input of a kind of mask is called."""
    plain = "mask" if window is None else f"mask_{window}"
    return f"{plain}_biased_{list(decoder.biases).index(bias)}" if bias else plain


def give_back(value: Value, name: str, old: Value | None, model: Model) -> None:
    """Make a value a graph output, in place of the one that gave back the grown cache."""
    outputs = model.graph.outputs
    if old is not None and old.is_graph_output():
        place = next(index for index, output in enumerate(outputs) if output is old)
        old.name = f"{old.name}/grown"
        outputs[place] = value
    else:
        outputs.append(value)
    value.name = name
