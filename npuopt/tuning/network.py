"""A model's graph in torch: the same numbers as in ONNX Runtime, and gradients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from npuopt.errors import InputError
from npuopt.graph import constant, element_type, is_constant, label, qualified_op_type, subgraphs_of
from npuopt.tuning.operators import OPERATORS
from npuopt.tuning.torch_api import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from npuopt.graph import Model, Node, Value
    from npuopt.tuning.torch_api import Tensor


class Holding(Protocol):
    """What becomes of tensors on their way through the network: how a student holds its numbers."""

    def weight(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return how `node` reads the constant `name` at input `index`."""
        ...

    def made(self, name: str, tensor: Tensor) -> Tensor:
        """Return how the tensor `name` is held once it is made or given."""
        ...

    def read(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return how `node` reads the held tensor `name` at input `index`."""
        ...


class AsItIs:
    """Holds every number in float, which is what a teacher does."""

    def weight(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return the constant."""
        del node, index, name
        return tensor

    def made(self, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor."""
        del name
        return tensor

    def read(self, node: Node, index: int, name: str, tensor: Tensor) -> Tensor:
        """Return the tensor."""
        del node, index, name
        return tensor


class Network:
    """A model's main graph in torch.

    Args:
        model: shapes need not be known; it is not changed and must not change as long as the network is used.

    Attributes:
        weights: the float constants of at least one element, by name, as tensors that share no memory with the model.

    Raises:
        InputError: when there is an op that gradients cannot be taken through.
    """

    def __init__(self, model: Model) -> None:
        self._nodes = list(model.graph)
        for node in self._nodes:
            if qualified_op_type(node) not in OPERATORS or subgraphs_of(node):
                hint = "freeze its shapes, or leave the part that has it out"
                raise InputError(f"{qualified_op_type(node)} cannot be tuned through", where=label(node), hint=hint)
        self._inputs = [value.name or "" for value in model.graph.inputs]
        self._outputs = [value.name or "" for value in model.graph.outputs]
        self.weights: dict[str, Tensor] = {}
        self._others: dict[str, Tensor] = {}
        for name, value in model.graph.initializers.items():
            if is_constant(value):
                kind = element_type(value)
                is_weight = kind is not None and kind.is_floating_point()
                (self.weights if is_weight else self._others)[name] = _tensor(value)

    def run(
        self,
        feeds: Mapping[str, np.ndarray],
        *,
        holding: Holding | None = None,
        weights: Mapping[str, Tensor] | None = None,
        keep: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Compute the outputs, and the inner tensors named in `keep`.

        Args:
            feeds: one array for each input.
            holding: how numbers are held on the way; in float when None.
            weights: what to use instead of the network's own constants, by name.
            keep: inner tensors that are wanted too, as they are before they are held.
        """
        holding = holding or AsItIs()
        constants = {**self._others, **self.weights, **(weights or {})}
        wanted = {*self._outputs, *keep}
        values: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}
        for name in self._inputs:
            given = torch.from_numpy(np.array(feeds[name]))  # a copy: the samples may be read-only
            values[name] = holding.made(name, given)
        for node in self._nodes:
            read = partial(self._input, node, values, constants, holding)
            inputs = [read(index, value) for index, value in enumerate(node.inputs)]
            for value, tensor in zip(node.outputs, _compute(node, inputs), strict=False):
                if value.name:
                    if value.name in wanted:
                        found[value.name] = tensor
                    values[value.name] = holding.made(value.name, tensor)
                    if value.name in self._outputs:
                        found[value.name] = values[value.name]
        return {name: found[name] if name in found else values.get(name, constants.get(name)) for name in wanted}

    def _input(
        self,
        node: Node,
        values: Mapping[str, Tensor],
        constants: Mapping[str, Tensor],
        holding: Holding,
        index: int,
        value: Value | None,
    ) -> Tensor | None:
        if value is None:
            return None
        name = value.name or ""
        if name in values:
            return holding.read(node, index, name, values[name])
        tensor = constants[name]
        return holding.weight(node, index, name, tensor) if tensor.dtype.is_floating_point else tensor


def _compute(node: Node, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
    try:
        made: Any = OPERATORS[qualified_op_type(node)](node, inputs)
    except (RuntimeError, IndexError) as error:  # what torch raises of shapes and types
        first = str(error).splitlines()[0]
        raise InputError(f"torch cannot compute this {node.op_type}: {first}", where=label(node)) from error
    outputs = cast("Sequence[Tensor]", made if isinstance(made, tuple | list) else [made])
    if any(value.name for value in node.outputs[len(outputs) :]):
        count = "first output" if len(outputs) == 1 else f"first {len(outputs)} outputs"
        raise InputError(f"only the {count} of {node.op_type} can be tuned through", where=label(node))
    return outputs


def _tensor(value: Value) -> Tensor:
    array = constant(value)
    if array is None or array.dtype.kind not in "biuf":
        raise InputError("a constant of this element type cannot be tuned through", where=value.name or "")
    return torch.from_numpy(np.array(array))
