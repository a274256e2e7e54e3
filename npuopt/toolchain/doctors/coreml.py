# pyright: basic, reportMissingImports=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Writes an .mlpackage of one ReLU: REQUEST is an empty object, ANSWER says the version."""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import coremltools
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil import Var


def main() -> None:
    """Convert it, save it, and check that the package holds a model."""

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1, 4))])
    def relu(x: Var) -> Var:
        return Builder.relu(x=x)

    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "relu.mlpackage"
        coremltools.convert(relu, convert_to="mlprogram").save(str(package))
        whole = any(package.rglob("model.mlmodel"))
    answer = {"version": version("coremltools")}
    if not whole:
        answer["refused"] = "the package holds no model"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
