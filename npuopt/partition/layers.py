"""What a layer with weights is made of: images, positions, and channels, whatever op it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TYPE_CHECKING

from npuopt.graph import attribute, input_at, is_op, static_shape

if TYPE_CHECKING:
    from npuopt.graph import Node
    from npuopt.partition.storage import Storage
    from npuopt.target.performance import Block, Performance


@dataclass(frozen=True)
class Layer:
    """The sizes of a convolution, or of a product with a constant matrix.

    Attributes:
        images: of its batch, each with all weights anew; 1 of a product.
        positions: results of one output channel, those of all images.
        inputs: channels that each weight kernel reads; 1 of a depthwise convolution.
        outputs: channels.
        weights: elements of its constant operand.
        dense: every output channel reads every input channel.
    """

    images: int
    positions: int
    inputs: int
    outputs: int
    weights: int
    dense: bool

    @property
    def depthwise(self) -> bool:
        """Say whether every output channel reads one input channel, of several."""
        return self.inputs == 1 and not self.dense

    def multiplying_cycles(self, block: Block, depthwise_channels: int | None) -> float:
        """Return the cycles in which full blocks are multiplied, a position in a cycle; 0 where blocks are not known.

        Args:
            block: what is multiplied at once.
            depthwise_channels: that are multiplied at once where each reads one input.
        """
        if block.inputs * block.outputs == 1:
            return 0.0
        positions = _filled(self.positions, block.positions or 1)
        kernel = self.weights / (self.inputs * self.outputs)
        if self.depthwise and depthwise_channels is not None:
            return positions * kernel * ceil(self.outputs / depthwise_channels)
        return positions * kernel * ceil(self.inputs / block.inputs) * ceil(self.outputs / block.outputs)

    def writing_cycles(self, block: Block, speed: Performance) -> float:
        """Return the cycles in which its results are written, those of full blocks."""
        if speed.results_per_cycle is None:
            return 0.0
        positions = _filled(self.positions, block.positions or 1)
        return positions * _filled(self.outputs, block.outputs) / speed.results_per_cycle

    def decoding_cycles(self, speed: Performance) -> float:
        """Return the cycles in which its weights are decoded; channels that fill up a block count as weights."""
        if speed.weights_per_cycle is None:
            return 0.0
        filled = _filled(self.inputs, speed.block.inputs) / self.inputs if self.dense else 1.0
        return self.images * self.weights * filled / speed.weights_per_cycle

    def channel_cycles(self, speed: Performance) -> float:
        """Return the cycles in which scales and biases of its output channels are read."""
        if speed.channel_cycles is None:
            return 0.0
        blocks = 1 if speed.block.positions is None else ceil(self.positions / speed.block.positions)
        return speed.channel_cycles * _filled(self.outputs, speed.block.outputs) * max(self.images, blocks)


def layer_of(node: Node, storage: Storage) -> Layer | None:
    """Return the sizes of a node; None where it has no constant weights, or a shape is not static."""
    if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    held = next((value for value in node.inputs[:2] if value is not None and storage.buffer(value) is None), None)
    weight, made, read = static_shape(held), static_shape(node.outputs[0]), static_shape(input_at(node, 0))
    if not weight or not made or not read or not prod(weight) or not prod(made):
        return None
    if is_op(node, "Gemm", "MatMul"):
        return Layer(1, prod(made) // made[-1], read[-1], made[-1], prod(weight), dense=True)
    outputs, inputs = made[1], read[1] // attribute(node, "group", 1)
    return Layer(made[0], prod(made) // outputs, inputs, outputs, prod(weight), dense=attribute(node, "group", 1) == 1)


def _filled(count: int, block: int) -> int:
    return ceil(count / block) * block
