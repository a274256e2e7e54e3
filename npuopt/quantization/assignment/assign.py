"""From ranges to encodings: which tensors are quantized, and how, so that a target takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.errors import InputError, UsageError
from npuopt.graph import is_constant
from npuopt.quantization.assignment.activations import ActivationPlan
from npuopt.quantization.assignment.constants import ConstantPlan
from npuopt.quantization.assignment.float8 import float8_encodings
from npuopt.quantization.assignment.wishes import ONE_FOR_ALL, wishes_of
from npuopt.quantization.encodings import Encodings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from npuopt.graph import Model, Node
    from npuopt.quantization.assignment.constants import Fitted
    from npuopt.quantization.assignment.wishes import Wishes
    from npuopt.quantization.encodings import Encoding
    from npuopt.quantization.ranges import Ranges
    from npuopt.target import Target

    Held = tuple[dict[str, Encoding], dict[str, dict[int, Encoding]], dict[str, dict[int, tuple[float, ...]]]]


def encodings_for(
    model: Model,
    target: Target,
    scheme: str,
    ranges: Ranges,
    *,
    wide: Collection[str] = (),
    precisions: Mapping[str, str] = ONE_FOR_ALL,
    alike: Mapping[str, Encoding] | None = None,
    fitted: dict[Fitted, Encoding] | None = None,
) -> Encodings:
    """Choose the encoding of every tensor that the target computes in integers.

    Activations get one scale each, biases the product of the scales that meet in the accumulator, weights the
    scheme's format. Tensors that an op only moves share one encoding. Where a node wants its input otherwise than
    its maker leaves it, the use gets an encoding of its own: so do neighbours that are computed in different schemes.
    Everything else stays float.

    Args:
        model: the float model, as the target is to see it (fused and lowered), shapes known.
        target: says which nodes it computes in integers, and how.
        scheme: one of the target's integer schemes.
        ranges: what calibration saw in this very model.
        wide: first outputs of the nodes whose weights are to have 16 bits where the target has them.
        precisions: the schemes of nodes that are computed in another than `scheme`, by the name of their first output;
            a float one leaves them in float. Nodes that only move numbers take the type of what they move.
        alike: how tensors of the same name are held in another model, which are to be held so here too.
        fitted: encodings of weights by themselves that are known from an earlier call for the same model; what is
            found is added.

    Raises:
        UsageError: when the target has no such scheme, or it computes in float.
        InputError: when calibration saw nothing of a tensor that is to be quantized, or a weight holds NaN.
    """
    if target.scheme(scheme).is_float:
        raise UsageError(f"scheme {scheme} of {target.name} computes in float and has no encodings")
    wishes = wishes_of(model, target, scheme, precisions)
    if target.scheme(scheme).is_float8:
        if alike:
            raise UsageError(f"scheme {scheme} shares no encodings with another model")
        named = {"target": target.name, "scheme": scheme, "precisions": dict(precisions), "calibration": ranges.method}
        return float8_encodings(wishes, ranges).model_copy(update=named)
    activations = ActivationPlan(model, wishes, ranges, alike)
    constants = ConstantPlan(activations, ranges, wide, fitted)
    tensors, uses, corrections = _held(wishes, activations, constants)
    _check_alike(tensors, alike or {})
    return Encodings(
        target=target.name,
        scheme=scheme,
        precisions=dict(precisions),
        calibration=ranges.method,
        tensors=tensors,
        uses=uses,
        corrections=corrections,
    )


def _held(wishes: Mapping[Node, Wishes], activations: ActivationPlan, constants: ConstantPlan) -> Held:
    """Return how each tensor is held, what single uses want otherwise, and what is added to constants there."""
    tensors = dict(activations.tensors)
    uses: dict[str, dict[int, Encoding]] = {}
    corrections: dict[str, dict[int, tuple[float, ...]]] = {}
    for node, wish in wishes.items():
        if node not in activations.computed:
            continue
        output = node.outputs[0].name or ""
        for index, value, role in wish.inputs():
            if is_constant(value):
                wanted = constants.at(wish, index, value, role)
                correction = constants.correction(wish, role)
                if correction is not None:
                    corrections.setdefault(output, {})[index] = tuple(correction.tolist())
            else:
                wanted = activations.at(wish, index, value)
            if tensors.setdefault(value.name or "", wanted) != wanted:
                uses.setdefault(output, {})[index] = wanted
    return tensors, uses, corrections


def _check_alike(tensors: Mapping[str, Encoding], alike: Mapping[str, Encoding]) -> None:
    """Check that what is to be held as in another model can be.

    Raises:
        InputError: when a tensor stays float here, or is made in another type.
    """
    for name, other in alike.items():
        own = tensors.get(name)
        if own is None or own.dtype != other.dtype:
            here = "float" if own is None else own.dtype
            raise InputError(
                f"is held in {other.dtype} there and made in {here} here, so both cannot share an encoding",
                where=name,
                hint="quantize this model first, and then the other one like it",
            )
