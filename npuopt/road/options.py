"""What a caller may ask of the road."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Say: TypeAlias = "Callable[[str], None]"
"""Told in a few words what is being done."""


def silent(text: str) -> None:
    """Report progress to nobody."""
    del text


CacheScales: TypeAlias = Literal["tensor", "head", "channel"]
"""What of a cache shares one scale."""

PREFILL, DECODE = "prefill", "decode"
"""Names of profiles."""


@dataclass(frozen=True)
class LanguageModelOptions:
    """What a decoder is to be compiled into.

    Attributes:
        context: most tokens that its cache holds.
        chunk: new tokens in a run of the profile `prefill`.
        speculate: new tokens of further profiles `decode_K`, beside `decode` of one.
        form: of the cache, `new`, `in-place` or `whole`; the target's first when None.
        cache_type: hold keys and values as integers, `int8` or `int16`; as the scheme has it when None.
        cache_scales: what of an integer cache shares one scale.
        last_logits: give the logits of one token only, the one that the input `last_token` names.
        embedding: look tokens up in the `graph`, or on the `host`: the table leaves the graphs, which take vectors.
        head: compute the logits in the profiles' `graph`s, or in a `region` of their own, which runs where they are
            wanted.
        share_weights: compile all parts of all profiles into one binary that holds their weights once.
        hints: a YAML file that says what the graph does not tell.
        adapter: low-rank adapters that become inputs of all profiles, so that others go in without compiling.
        merge_adapter: low-rank adapters that are added to the weights.
        tokenizer: files to carry along.
        encoder: the other half of an encoder-decoder.
        source_length: tokens of a source, where its encoder leaves that free.
        start_token: what the decoder of an encoder-decoder begins with; as a file beside it says when None.
        max_memory: bytes that weights, caches and working memory of the largest profile may take; no limit when None.
        fit: where they take more, shorten the context, then hold weights in fewer bits if the precision is `auto`.
    """

    context: int = 1024
    chunk: int = 128
    speculate: tuple[int, ...] = ()
    form: str | None = None
    cache_type: Literal["int8", "int16"] | None = None
    cache_scales: CacheScales = "tensor"
    last_logits: bool = False
    embedding: Literal["graph", "host"] = "graph"
    head: Literal["graph", "region"] = "graph"
    share_weights: bool = False
    hints: Path | None = None
    adapter: Path | None = None
    merge_adapter: Path | None = None
    tokenizer: tuple[Path, ...] = ()
    encoder: Path | None = None
    source_length: int = 128
    start_token: int | None = None
    max_memory: int | None = None
    fit: bool = False

    @property
    def lengths(self) -> dict[str, int]:
        """New tokens of each profile, most first."""
        found = {PREFILL: self.chunk, **{f"{DECODE}_{count}": count for count in self.speculate}, DECODE: 1}
        return dict(sorted(found.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class CompileOptions:
    """Options of `compile`, `check` and `quantize`.

    Attributes:
        dims: named dims to freeze.
        precision: a scheme of the target, or `auto`: the target's first scheme that the given data allows.
        precisions: patterns of nodes (an op type, or names with * and ?) that are computed in another scheme.
        calibration: a .npz, a folder of them, `package.module:function`, `random`, or an object of ORT's
            CalibrationDataReader kind.
        calibration_method: how ranges are found, one of `npuopt.quantization.calibration.methods`; what suits the
            scheme's bits when None.
        calibration_state: a file that keeps what calibration found so far, to go on from after an interruption; or a
            folder of such files.
        encodings: an encodings file to use instead of calibrating; with `calibration`, weights are still rounded to
            suit that data, else to the nearest.
        requantize: drop the encodings of a model that comes quantized, and quantize it anew.
        alike: patterns of tensors, each with an encodings file of another model that holds them the same way.
        max_drop: a bound on a metric, as `METRIC=VALUE`; the fastest mix of schemes that keeps to it is searched for.
        held_out: data that this bound is measured on, in a form that `calibration` has; that data when None.
        budget: what such a mix may cost, as `bytes=N` or `latency=RATIO`.
        steps: quantization steps to run besides the scheme's standard ones, as `name` or `name{option=value}`.
        without_steps: names of standard ones to leave out.
        rounding: how a weight-only scheme finds scales: `nearest`, `least-squares` or `half-quadratic`.
        form: how the quantized model is written: `qdq`, `nbits` (MatMulNBits), `qoperator` (QLinearConv),
            `dynamic` (MatMulInteger), or `encodings` (`quantize` only: the float model, and encodings beside it).
        verify: compare numbers after `each` pass, at the end (`final`), or never (`off`).
        dump: keep the graph after each pass in the artifact's `dumps/`.
        host: what runs the host's part, `ort` or `tvm`.
        min_npu: least fraction of nodes on the device, else PlacementError.
        min_cosine: least cosine of every output with what it is compared with, else AccuracyError; 0 asks nothing.
        time_limit: seconds for each vendor tool run.
        pass_files: Python files whose passes join the catalogue; its fusions run after the standard ones.
        samples: how many samples the final verification runs.
        language_model: compile a decoder into static profiles; None for any other model.
    """

    dims: Mapping[str, int] = field(default_factory=dict[str, int])
    precision: str = "auto"
    precisions: tuple[tuple[str, str], ...] = ()
    calibration: Any = None
    calibration_method: Any = None
    calibration_state: Path | None = None
    encodings: Path | None = None
    requantize: bool = False
    alike: tuple[tuple[str, Path], ...] = ()
    max_drop: str | None = None
    held_out: Any = None
    budget: str | None = None
    steps: tuple[str, ...] = ()
    without_steps: tuple[str, ...] = ()
    rounding: Literal["nearest", "least-squares", "half-quadratic"] = "least-squares"
    form: Literal["qdq", "nbits", "qoperator", "dynamic", "encodings"] = "qdq"
    verify: Literal["each", "final", "off"] = "final"
    dump: bool = False
    host: str = "ort"
    min_npu: float = 0.0
    min_cosine: float = 0.0
    time_limit: float = 900.0
    pass_files: tuple[Path, ...] = ()
    samples: int = 4
    language_model: LanguageModelOptions | None = None


DEFAULTS = CompileOptions()
