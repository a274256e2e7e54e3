"""The step that splits channels with outlying weights."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import Field

from npuopt.graph import static_shape
from npuopt.quantization.assignment.wishes import wishes_of
from npuopt.quantization.channels.outliers import data_axis, outlier_channels, refusal
from npuopt.quantization.steps.contract import FloatStep, Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.graph import Node, Value
    from npuopt.quantization.steps.contract import Work

SPLIT = "split-outlier-channels"


class SplitOutlierChannels(FloatStep):
    """Halve the weights of input channels that widen the steps of all others, and read these channels twice.

    Source: Zhao et al., "Improving Neural Network Quantization without Retraining using Outlier Channel Splitting",
    ICML 2019. It needs no data. Not standard: with a scale for each output channel a few large weights cost little, and
    a copy has to be read. Measured: tiny_llama at a8w8 loses by it (perplexity against float +0.82 % instead of
    +0.65 %), fashion_mnist at a8w4 stays as it is (90.67 % instead of 90.65 % right).

    Attributes:
        share: copies that a layer may get, for each of its input channels.
    """

    name: ClassVar[str] = "split-outlier-channels"
    share: float = Field(default=0.02, gt=0, le=0.5)

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Choose channels for all layers that read one tensor together, so that they share the copies."""
        if work.target.scheme(work.scheme).is_weight_only:
            return  # blocks along the features have scales of their own
        by_source: dict[tuple[Value, int], list[Node]] = {}
        for node in wishes_of(work.model, work.target, work.scheme, work.precisions):
            if refusal(node) == "":
                by_source.setdefault((cast("Value", node.inputs[0]), data_axis(node)), []).append(node)
        chosen: dict[str, list[int]] = {}
        for (source, axis), nodes in by_source.items():
            count = (static_shape(source) or (0,) * (axis + 1))[axis]
            channels = outlier_channels(nodes, ceil(self.share * count))
            if channels:
                chosen |= {node.outputs[0].name or "": channels for node in nodes}
        if chosen:
            yield Rewrite(pass_name=SPLIT, options={"channels": chosen})
