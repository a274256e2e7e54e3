"""`npuopt bisect`: which pass, and which node, changed the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npuopt.cli.options import (
    DimOption,
    JsonOption,
    ModelArgument,
    OptionalTargetOption,
    PassFileOption,
    PassOption,
    RecipeOption,
    SamplesOption,
    ToleranceOption,
    parse_dims,
)
from npuopt.cli.output import console, print_json, progress
from npuopt.errors import AccuracyError

if TYPE_CHECKING:
    from typing import Any


def bisect_command(
    model: ModelArgument,
    *,
    target: OptionalTargetOption = None,
    passes: PassOption = None,
    recipe: RecipeOption = None,
    dim: DimOption = None,
    inputs: SamplesOption = None,
    tolerance: ToleranceOption = None,
    pass_file: PassFileOption = None,
    json: JsonOption = False,
) -> None:
    """Run what `optimize` runs and name the pass, then the node, that changes the numbers; exit 5 when one does."""
    from npuopt import api

    wanted = api.Wanted(target, passes, recipe, parse_dims(dim), tuple(pass_file or ()))
    with progress() as say:
        result = api.bisect(model, wanted=wanted, inputs=inputs, tolerance=tolerance, say=say)
    if json:
        print_json(result)
    elif result["pass"] is None:
        text = f"no pass changes the numbers: {result['compared']} compared on {result['samples']} sample(s)"
        console().print(text, markup=False)
    if result["pass"] is not None:
        raise AccuracyError(_sentence(result), where=str(model), hint=f"see `npuopt passes show {result['pass']}`")


def _sentence(result: dict[str, Any]) -> str:
    difference = result["difference"]
    by = "to infinity, NaN or another shape" if difference is None else f"by {difference:.2e} of its range"
    node = result["node"]
    at = f" at {node['op_type']} {node['node']} ({node['text']})" if node else ""
    return f"pass {result['pass']} changes output {result['output']!r} {by}{at}"
