"""Takes QuantizeLinear and DequantizeLinear out of a graph, and keeps what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from npuopt.passes.quantize.incoming_pairs import Removal
from npuopt.passes.quantize.quantization_chains import is_quantization
from npuopt.pipeline import Pass, Report
from npuopt.quantization.incoming.quantized_model import Incoming

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class DropQuantizeDequantize(Pass):
    """QuantizeLinear and DequantizeLinear disappear, and the float graph that they stand for remains.

    `maker -> QuantizeLinear -> DequantizeLinear -> reader` becomes `maker -> reader`; an integer constant and its
    DequantizeLinear become the float constant that they amount to. Ops that move integers between the two move
    floats. What the pairs say is kept beside the graph, to be put in again where a target wants it.

    Left alone: a DequantizeLinear whose integers are a graph input or are made by other ops; a QuantizeLinear that
    makes a graph output or is read by other ops; parameters given at run time; blocks; activations with scales by
    channel; types other than integers of 4 to 32 bits; models with other floats than
    float32; branches and loop bodies; a graph output that is a constant.

    Attributes:
        found: the encodings of each run; no option.
    """

    name: ClassVar[str] = "drop-quantize-dequantize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    found: list[Incoming] = field(default_factory=list[Incoming], init=False, compare=False)

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Drop every pair of the main graph."""
        del target  # what it wants is asked when the encodings go in again
        report = Report(self.name)
        run = Removal(model, report)
        for node in list(model.graph):
            if is_quantization(node, "DequantizeLinear"):
                run.drop(node)
        self.found.append(run.result())
        return report
