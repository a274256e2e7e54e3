"""Writes encodings into the graph as standard QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.passes.quantize.insertion import Insertion
from npuopt.pipeline import Pass, Report
from npuopt.quantization.encodings import Encodings

if TYPE_CHECKING:
    from npuopt.graph import Model
    from npuopt.target import Target


@dataclass(frozen=True)
class InsertQuantizeDequantize(Pass):
    """Hold tensors as integers: QuantizeLinear and DequantizeLinear around every tensor that has an encoding.

    `maker -> reader` becomes `maker -> QuantizeLinear -> DequantizeLinear -> reader`, one pair for all readers. A
    constant becomes an integer initializer and a DequantizeLinear, which takes the constant's name. A use with an
    encoding of its own reads through a second pair (activations) or a second initializer (constants). Graph inputs
    and outputs keep their float type; the pairs lie inside.

    Left alone: tensors without an encoding; tensors that are quantized already; inputs that set up an op and are no
    data, such as the bounds of Clip.

    Attributes:
        encodings: what to insert, or the JSON file that holds it.
        integers: arrays that constants are held as, by name, where they are not to be rounded to the nearest. They
            have the constant's shape and the storage type of its encoding.
    """

    name: ClassVar[str] = "insert-quantize-dequantize"
    needs: ClassVar[frozenset[str]] = frozenset({"shapes-known"})

    encodings: Encodings | Path | None = None
    integers: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __call__(self, model: Model, target: Target | None = None) -> Report:
        """Insert the pairs."""
        del target  # encodings say all there is to say
        report = Report(self.name)
        encodings = Encodings.load(self.encodings) if isinstance(self.encodings, Path) else self.encodings
        if encodings is None:
            report.notes.append("no encodings were given, so nothing is quantized")
            return report
        encodings.check(model)
        insertion = Insertion(model, encodings, self.integers, report)
        insertion.activations()
        insertion.constants()
        insertion.conversions()
        if self.integers:
            report.notes.append(f"{len(self.integers)} constants are rounded otherwise than to the nearest")
        return report
