"""How far a student's tensors are from its teacher's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.graph import dims, is_op
from npuopt.tuning.torch_api import functional, torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.graph import Model
    from npuopt.tuning.options import TuningOptions
    from npuopt.tuning.torch_api import Tensor

LEAST_POWER = 1e-12
"""What the mean square of a teacher's tensor counts at least, so that one of zeros divides nothing by zero."""

MOVERS = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
BIASED = ("Add", *MOVERS)


def distance(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], logits: set[str], options: TuningOptions
) -> Tensor:
    """Return the sum of all outputs' distances and of the inner tensors' errors.

    Args:
        student: its outputs and inner tensors.
        teacher: the same of the teacher, without gradients. Passed over is what is no float, empty, not made by the
            student, or of another shape than the student's.
        logits: outputs whose softmax along the last axis is compared.
        options: which distance, and which tensors are inner ones.
    """
    total = torch.zeros(())
    for name, wanted in teacher.items():
        got = student.get(name)
        if got is None or got.shape != wanted.shape or not wanted.dtype.is_floating_point or not wanted.numel():
            continue
        inner = name in options.inner
        if options.loss == "kl" and name in logits and not inner:
            total = total + divergence(got, wanted)
        else:
            total = total + (options.inner_weight if inner else 1.0) * relative_error(got, wanted)
    return total


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean, over all positions, of the divergence (Kullback-Leibler) of the softmax from the teacher's.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, at temperature 1.
    """
    size = teacher.shape[-1]
    got = functional.log_softmax(student.reshape(-1, size), dim=-1)
    wanted = functional.log_softmax(teacher.reshape(-1, size), dim=-1)
    return functional.kl_div(got, wanted, reduction="batchmean", log_target=True)


def relative_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared error over the teacher's mean square."""
    return ((student - teacher) ** 2).mean() / torch.clamp((teacher**2).mean(), min=LEAST_POWER)


def logit_outputs(model: Model) -> set[str]:
    """Find the outputs that are logits: a product's results, a bias and moves aside, along an axis of at least two."""
    found: set[str] = set()
    for output in model.graph.outputs:
        node = output.producer()
        while node is not None and is_op(node, *BIASED) and node.inputs[0] is not None:
            node = node.inputs[0].producer()
        sizes = dims(output)
        if sizes is None or len(sizes) not in (2, 3) or sizes[-1] == 1:
            continue
        if node is not None and is_op(node, "Gemm", "MatMul"):
            found.add(output.name or "")
    return found
