"""Steps that decide what integers weights become, and what makes up for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from npuopt.quantization.rounding.learned_rounding import ITERATIONS, learned_rounder
from npuopt.quantization.rounding.round_weights import (
    LEAST_SQNR_DB,
    MOST_FEATURES,
    held_as_rounded,
    round_weights,
    too_noisy,
)
from npuopt.quantization.steps.contract import Applied, Held, IntegerStep

if TYPE_CHECKING:
    from npuopt.quantization.encodings import Encodings
    from npuopt.quantization.rounding.cancellation import Rounder
    from npuopt.quantization.steps.contract import Work


class CorrectBiases(IntegerStep):
    """Take what rounding the weights does to the mean of a convolution's result off its bias.

    Source: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", ICCV 2019, section
    4.2, with means from calibration. Measured: 9 dB at the output of the PP-OCR recognizer in a16w8.
    """

    name: ClassVar[str] = "correct-biases"

    def apply(self, work: Work, held: Held) -> Applied:
        """Add the corrections that fit weights rounded to the nearest."""
        corrections = work.encodings(precisions=held.encodings.precisions).corrections
        encodings = held.encodings.model_copy(update={"corrections": corrections})
        return Applied(Held(encodings, held.rounded), len(corrections), "biases corrected")


class RoundWeights(IntegerStep):
    """Round weights so that the errors of one cancel against those of others on the calibration data (GPTQ).

    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR
    2023. Measured on the PP-OCR recognizer in a16w8: most layers' results gain 4 dB.

    Attributes:
        most_features: layers with more inputs are rounded to the nearest; the work grows with the third power.
    """

    name: ClassVar[str] = "round-weights"
    keeps_encodings: ClassVar[bool] = True
    most_features: int = Field(default=MOST_FEATURES, ge=1)

    def apply(self, work: Work, held: Held) -> Applied:
        """Round the layers that can be; the others stay at the nearest."""
        if work.samples is None:
            return Applied(held, 0, "no data to round weights by")
        rounded = round_weights(
            work.model,
            held.encodings,
            work.samples,
            progress=work.progress("rounding weights"),
            threads=work.threads,
            most_features=self.most_features,
        )
        return Applied(Held(held.encodings, rounded), len(rounded), "layers' weights rounded by data")


class LearnRounding(IntegerStep):
    """Learn for each weight whether it is rounded up or down, by gradients on the calibration data (AdaRound).

    It needs torch (the extra `tune`). A row of weights that GPTQ rounds better keeps that. Weight-only schemes have it
    too. Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020. Not standard,
    as GPTQ leaves it little to gain, for a small part of the time. Measured on products of Gemma 3 270M with data not
    seen before, to the nearest / GPTQ alone / learned alone (2,000 iterations): 4 bits in blocks of 32 30.5 / 34.7 /
    34.8 dB and 24.0 / 26.6 / 26.8 dB, 4 bits by channel 20.8 / 24.5 / 24.0 dB, 8 bits 42.6 / 49.3 / 48.3 dB. Perplexity
    of tiny_llama at w4 grows by 1.35 instead of 1.39 %, in 112 s instead of 6.

    Attributes:
        iterations: of gradient descent, for each layer.
        most_features: layers with more inputs are rounded to the nearest.
    """

    name: ClassVar[str] = "learn-rounding"
    keeps_encodings: ClassVar[bool] = True
    rounds_blocks: ClassVar[bool] = True
    iterations: int = Field(default=ITERATIONS, ge=1)
    most_features: int = Field(default=MOST_FEATURES, ge=1)

    def apply(self, work: Work, held: Held) -> Applied:
        """Round the layers that can be; the others stay as they are."""
        rounder = self.rounder()
        if work.samples is None:
            return Applied(held, 0, "no data to learn rounding by")
        learned = round_weights(
            work.model,
            held.encodings,
            work.samples,
            progress=work.progress("learning rounding"),
            threads=work.threads,
            most_features=self.most_features,
            rounder=rounder,
        )
        rounded = {**held.rounded, **learned}
        return Applied(Held(held.encodings, rounded), len(learned), "layers' rounding learned")

    def rounder(self) -> Rounder:
        """Return how rows of weights are rounded.

        Raises:
            ToolchainMissingError: when torch is not installed.
        """
        return learned_rounder(self.iterations)


class WidenWeights(IntegerStep):
    """Hold the weights of layers that 8 bits leave too noisy in 16 bits, beside 16-bit activations.

    Measured on the PP-OCR recognizer in a16w8: 99.3 % instead of 98.8 % of 400 lines equal to float, 34.5 instead of
    26.4 dB at the probabilities, for 16 bits in 42 % of the weights.

    Attributes:
        least_sqnr_db: what the result of a layer must reach, with weights rounded by data, to keep its 8 bits.
    """

    name: ClassVar[str] = "widen-weights"
    least_sqnr_db: float = LEAST_SQNR_DB

    def apply(self, work: Work, held: Held) -> Applied:
        """Widen the noisy ones among the layers that were rounded by data."""
        wide = too_noisy(held.rounded, self.least_sqnr_db)
        if not wide:
            return Applied(held, 0, "no layer too noisy")
        encodings = work.encodings(wide=wide, precisions=held.encodings.precisions)
        if not held.encodings.corrections:
            encodings = encodings.model_copy(update={"corrections": {}})
        rounded = held_as_rounded(held.rounded, encodings)
        widened = [name for name in wide if _weight_type(encodings, held, name) == "int16"]
        return Applied(Held(encodings, rounded), len(widened), "layers' weights held in 16 bits")


def _weight_type(encodings: Encodings, held: Held, output: str) -> str:
    encoding = encodings.read_by(output, 1, held.rounded[output].weight)
    return "" if encoding is None else encoding.dtype
