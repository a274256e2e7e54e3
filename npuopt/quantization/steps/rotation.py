"""The step that gives residual streams a basis in which no channel stands out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from npuopt.quantization.steps.contract import FloatStep, Rewrite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from npuopt.quantization.steps.contract import Work

ROTATE = "fold-residual-rotation"


class RotateResiduals(FloatStep):
    """Rotate the residual streams of transformers by a Hadamard matrix, so that outliers spread over all channels.

    Source: Ashkboos et al., "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs", NeurIPS 2024, section 4, of which
    only what folds into weights exactly. The scale of each normalization goes into the weights behind it first. Not
    standard: tiny_llama, whose channels are much alike, gains little (perplexity against float: w4 +1.28 % instead of
    +1.39 %, a16w4 +1.25 % instead of +1.35 %) or nothing (a8w8 +0.69 % instead of +0.65 %), and rotated weights suit no
    other model that shares them unrotated.

    Attributes:
        seed: of the matrix's signs.
    """

    name: ClassVar[str] = "rotate-residuals"
    seed: int = Field(default=0, ge=0)

    def rewrites(self, work: Work) -> Iterator[Rewrite]:
        """Rotate whatever streams there are; the pass says which it leaves, and why."""
        del work
        yield Rewrite(pass_name=ROTATE, options={"seed": self.seed})
