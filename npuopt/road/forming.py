"""The form in which a quantized model is written: standard ops, or those of ONNX Runtime's kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from npuopt.errors import UsageError
from npuopt.pipeline.catalogue import find_pass, with_options
from npuopt.road.keeping import quantize_or_keep

if TYPE_CHECKING:
    from pathlib import Path

    from npuopt.graph import Model
    from npuopt.road.importing import Source
    from npuopt.road.options import CompileOptions, Say
    from npuopt.road.preparation import Prepared
    from npuopt.road.quantizing import Quantized
    from npuopt.target import Target

Form: TypeAlias = Literal["qdq", "nbits", "qoperator", "dynamic", "encodings"]

PASSES: dict[Form, tuple[str, ...]] = {
    "qdq": (),
    "encodings": (),
    "nbits": ("fuse-weight-dequantize", "drop-unused-nodes"),
    "dynamic": ("insert-dynamic-quantization", "fold-common-subexpressions", "drop-unused-nodes"),
    "qoperator": ("fuse-quantized-operators", "drop-unused-nodes"),
}

OPS: dict[Form, str] = {
    "nbits": "com.microsoft::MatMulNBits",
    "qoperator": "QLinearConv",
    "dynamic": "DynamicQuantizeLinear",
}
"""The op without which a target does not take a form."""


def require_form(form: Form, target: Target, scheme: str, *, is_quantized: bool) -> None:
    """Check that a form is one for the scheme and for a model that comes quantized or not, with ops of the target.

    Raises:
        UsageError: when it is not.
    """
    if form == "encodings" and is_quantized:
        raise UsageError("the model comes quantized, so there is no float model to put encodings beside")
    weight_only = target.scheme(scheme).is_weight_only
    if form != "qdq" and target.scheme(scheme).is_float and not weight_only:
        raise UsageError(f"scheme {scheme} quantizes nothing, so there is no form {form} of it")
    if form == "nbits" and not weight_only:
        raise UsageError(f"form nbits is for weights beside float activations, and {scheme} quantizes activations")
    held = target.scheme(scheme).weight
    if form == "dynamic" and not (weight_only and held == "int8" and target.scheme(scheme).weight_axis == "channel"):
        raise UsageError(f"form dynamic is for weights of int8 by channel beside float activations, not for {scheme}")
    if form == "qoperator" and weight_only:
        raise UsageError(f"form qoperator is for quantized activations, and {scheme} computes in float")
    wanted = OPS.get(form)
    if wanted is not None and wanted not in target.ops:
        raise UsageError(f"{target.name} does not take {wanted}, of which form {form} is made", hint="use form qdq")


def written_as(form: Form, target: Target, scheme: str) -> Form:
    """Return the form asked for, or the only one in which the target takes the scheme's weights."""
    return "nbits" if form == "qdq" and target.scheme(scheme).weight_packed else form


def write_form(prepared: Prepared, form: Form) -> None:
    """Bring the quantized model, which is in standard form, into another one."""
    prepared.runner.run(prepared.model, [with_options(find_pass(name), {}) for name in PASSES[form]])


def quantize_source(
    model: Path,
    source: Source,
    prepared: Prepared,
    chip: Target,
    options: CompileOptions,
    *,
    halve: bool = False,
    say: Say,
) -> Quantized:
    """Quantize what is not quantized yet, place the encodings of what is, and write the form that is asked for.

    `halve` writes a model of a scheme of 16-bit floats in that type.
    """
    require_form(options.form, chip, source.scheme, is_quantized=source.incoming is not None)
    quantized = quantize_or_keep(model, source, prepared, chip, options, halve=halve, say=say)
    write_form(prepared, written_as(options.form, chip, source.scheme))
    return quantized


def model_to_write(prepared: Prepared, quantized: Quantized, form: Form) -> Model:
    """Return the quantized model, or the float model that its encodings stand beside."""
    return quantized.before.model if form == "encodings" and quantized.before is not None else prepared.model


def encodings_beside(output: Path, form: Form) -> Path | None:
    """Return where encodings go without being asked for: beside a float model."""
    return output.with_suffix(".encodings.json") if form == "encodings" else None
