"""The stretch of the road for float types of 16 bits: what stays in float32, and the model written in the type."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from npuopt.errors import UsageError
from npuopt.graph import label
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.pipeline.recipes import BEFORE_CALIBRATION
from npuopt.quantization.assignment.precisions import node_precisions
from npuopt.quantization.half_precision.formats import half_format
from npuopt.quantization.half_precision.islands import clamped_constants, find_islands
from npuopt.quantization.half_precision.measuring import SAMPLES
from npuopt.quantization.samples.data import RANDOM, open_samples
from npuopt.road.preparation import AS_THEY_ARE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np

    from npuopt.graph import Model
    from npuopt.quantization.half_precision.islands import Islands
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.target import Target

    Arrays = dict[str, np.ndarray]

CLEANING = ("fold-consecutive-casts", "drop-identities", "drop-unused-nodes")
"""What goes behind it: Casts of a model's own that meet those that were put in. Weights stay in 16 bits."""

NO_DATA = (
    "what stays in float32 was found with random numbers, which may never reach what real data does; give --calibration"
)


@dataclass(frozen=True)
class Island:
    """A node that stays in float32."""

    node: str
    op_type: str
    reason: str


@dataclass(frozen=True)
class Clamped:
    """A constant that goes beyond the type's range."""

    constant: str
    largest: float
    became: float


@dataclass(frozen=True)
class Halved:
    """A model that computes in a float type of 16 bits.

    Attributes:
        dtype: float16 or bfloat16.
        islands: the nodes that stay in float32, in the order of the graph.
        clamped: constants of which numbers became the type's greatest.
        nodes: how many nodes compute in the type.
        samples: how many the islands were found with.
        layers: each node's own error in the type, the greatest first.
        judged: the model in a form that ONNX Runtime computes with every rounding in it.
        checked_by: how the numbers were come by, in a sentence.
        warnings: what to beware of.
    """

    dtype: str
    islands: tuple[Island, ...]
    clamped: tuple[Clamped, ...]
    nodes: int
    samples: int
    layers: tuple[dict[str, Any], ...]
    judged: Model
    checked_by: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what is on record of it."""
        return {
            "dtype": self.dtype,
            "nodes": self.nodes,
            "samples": self.samples,
            "islands": [asdict(island) for island in self.islands],
            "clamped": [asdict(one) for one in self.clamped],
            "checked_by": self.checked_by,
            "warnings": list(self.warnings),
        }


def require_change(target: Target, scheme: str, *, with_encodings: bool) -> bool:
    """Say whether a model in this scheme is written in a float type of 16 bits.

    Raises:
        UsageError: when the scheme leaves the model as it is, or encodings are wanted and there will be none.
    """
    halve = is_written(target, scheme)
    if not halve and target.scheme(scheme).is_float and not target.scheme(scheme).is_weight_only:
        raise UsageError(f"scheme {scheme} of {target.name} is not quantized", hint="use npuopt optimize")
    if halve and with_encodings:
        raise UsageError(
            f"scheme {scheme} has neither encodings nor steps",
            hint="leave out --steps-report, --save-encodings and --save-precisions",
        )
    return halve


def is_written(target: Target, scheme: str) -> bool:
    """Say whether the model's tensors have a float type of 16 bits in this scheme, as `quantize` writes them."""
    return half_format(target.scheme(scheme)) is not None


def is_written_by_compile(target: Target, scheme: str) -> bool:
    """Say whether `compile` writes it so, too: where the target also has float32 for what needs it.

    A compiler that computes all of a float model in 16 bits does so by itself.
    """
    return is_written(target, scheme) and wide_scheme(target) is not None


def wide_scheme(target: Target) -> str | None:
    """Return the target's scheme of float32, if it has one."""
    plain = (name for name, one in target.schemes.items() if one.activation == "float32" and not one.is_weight_only)
    return next(plain, None)


def halve_model(
    prepared: Prepared,
    target: Target,
    scheme: str,
    options: CompileOptions,
    verification: Iterable[Mapping[str, np.ndarray]],
    *,
    say: Say,
) -> Halved:
    """Write the prepared model in the scheme's float type of 16 bits, in place, with islands of float32.

    Args:
        prepared: the float model, its masks limited.
        target: says which type, and whether there is float32 beside it.
        scheme: float16 or bfloat16.
        options: calibration data, and nodes that are to stay.
        verification: samples to look at where there is no calibration data.
        say: told what is being done.

    Raises:
        UsageError: when nodes are to be kept in anything but float32, or the target has none.
    """
    form = half_format(target.scheme(scheme))
    assert form is not None, "the caller asked"  # noqa: S101 -- for the type alone
    model = prepared.model
    kept = _kept(model, target, scheme, options)
    say(f"looking for what {form.name} does not hold")
    samples = verification if options.calibration is None else open_samples(options.calibration, model)
    found = find_islands(
        model, form, islice(samples, SAMPLES), kept=kept, progress=lambda done, _: say(f"measuring: sample {done}")
    )
    reasons: Mapping[str, str] = found.reasons if wide_scheme(target) is not None else dict[str, str]()
    labels = {node.outputs[0].name or "": node for node in model.graph if node.outputs}
    islands = tuple(Island(label(labels[name]), labels[name].op_type, why) for name, why in found.reasons.items())
    clamped = clamped_constants(model, form, reasons)
    layers = _layers(model, found, scheme, wide_scheme(target) or "", reasons)
    judged = model.clone()
    held = {"dtype": form.name, "islands": reasons, "between_casts": True}
    with_options(find_pass("lower-float-precision"), held)(judged)
    say(f"writing the model in {form.name}")
    held["between_casts"] = target.scheme(scheme).between_casts
    write = with_options(find_pass("lower-float-precision"), held)
    report = prepared.runner.run(model, [write])[-1]
    prepared.runner.run(model, AS_THEY_ARE.make(CLEANING))
    return Halved(
        form.name,
        islands,
        tuple(Clamped(name, largest, form.largest) for name, largest in clamped.items()),
        len(report.changed),
        found.errors.samples,
        layers,
        judged,
        f"every op computed in float32 and what it makes rounded to {form.name} through Casts, as ONNX Runtime's CPU"
        f" kernels do not compute in {form.name}",
        _warnings(islands, reasons, target, options),
    )


def ranked_in_half(halved: Halved | None, *, at_outputs: bool) -> dict[str, Any]:
    """Return the table of layers, as `sensitivity` prints it.

    Raises:
        UsageError: when effects at the outputs are asked for, which are measured for integers alone.
    """
    if halved is None or at_outputs:
        raise UsageError("effects at the outputs are measured for integer schemes", hint="leave out --at-outputs")
    return {"samples": halved.samples, "layers": list(halved.layers), "halved": halved.to_json()}


def limit_masks(prepared: Prepared) -> None:
    """Limit the constants of masks, as ahead of any calibration."""
    prepared.runner.run(prepared.model, AS_THEY_ARE.make(BEFORE_CALIBRATION))


def _kept(model: Model, target: Target, scheme: str, options: CompileOptions) -> list[str]:
    """Return the nodes that are to stay in float32, by what they make first."""
    wide = wide_scheme(target)
    for pattern, other in options.precisions:
        target.scheme(other)
        if other not in (wide, scheme):
            hint = f"it may be {wide}" if wide else f"{target.name} has no scheme of float32"
            raise UsageError(f"{pattern} cannot be in {other} beside {scheme}", hint=hint)
    return [name for name, other in node_precisions(model, target, scheme, options.precisions).items() if other == wide]


def _layers(
    model: Model, found: Islands, scheme: str, wide: str, reasons: Mapping[str, str]
) -> tuple[dict[str, Any], ...]:
    """Return a line for each node that was measured, as `sensitivity` prints it; the most harmful first."""
    op_types = {node.outputs[0].name or "": node.op_type for node in model.graph if node.outputs}
    ranked = sorted(found.own_db().items(), key=lambda item: item[1])
    return tuple(
        {
            "name": name,
            "op_type": op_types[name],
            "scheme": wide if name in reasons else scheme,
            "own_sqnr_db": own if isfinite(own) else None,
            "accumulated_sqnr_db": None,
            "saturated": None,
            "output_sqnr_db": {},
        }
        for name, own in ranked
    )


def _warnings(
    islands: tuple[Island, ...], reasons: Mapping[str, str], target: Target, options: CompileOptions
) -> tuple[str, ...]:
    found = [NO_DATA] if options.calibration in (None, RANDOM) else []
    if islands and not reasons:
        first = islands[0]
        found.append(
            f"{len(islands)} nodes want float32, which {target.name} does not have; first {first.op_type} {first.node}:"
            f" {first.reason}"
        )
    return tuple(found)
