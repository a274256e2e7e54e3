"""The Edge TPU road: a fully integer TFLite model, and Google's compiler where the user has it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from npuopt.delegates.litert.region import MODEL_FILE
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.settings import settings_of
from npuopt.delegates.tflite_vendors.compiling import Compiler, Door, Road, compile_region, run_region
from npuopt.delegates.tflite_vendors.edgetpu_report import read_report
from npuopt.errors import ToolchainMissingError
from npuopt.target.roads import EdgeTpuDelegate as Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import CompiledRegion, Limits
    from npuopt.target import Target

PROGRAM = "edgetpu_compiler"
COMPLAINT = re.compile(r"^((?:ERROR|Error|Invalid model|Internal compiler error)[^\n]{0,300})$", re.MULTILINE)
VARIABLE = "NPUOPT_EDGETPU_COMPILER"
INSTALL = (
    f"install {PROGRAM} (Debian package edgetpu-compiler of Google's Coral, x86-64 Linux) or name it in {VARIABLE}"
)


class EdgeTpuDelegate:
    """Compiles regions to TFLite models with one custom operator for the Edge TPU in them."""

    road: ClassVar[str] = "edgetpu"
    not_probed: ClassVar[str] = "edgetpu_compiler is in no package index; where it is at hand, `npuopt compile` asks it"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the exporter's extra is not installed; the compiler may be missing."""
        ensure_available()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write model.tflite, and model_edgetpu.tflite where the compiler is found on PATH or by its variable.

        Raises:
            ToolchainMissingError: the variable names nothing that can be run.
            VendorToolError: a node has no TFLite form, or the compiler failed or mapped nothing.
        """
        road = Road(
            self.road, settings_of(target, Settings).kernels, "edgetpu_compiler.log", find, read_report, COMPLAINT
        )
        return compile_region(model, folder, road, limits=limits)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the TFLite model from before the compiler in LiteRT's interpreter, once a sample."""
        return run_region(region, samples, settings_of(target, Settings).kernels, limits=limits)


def find(model: Path, folder: Path) -> Compiler | Door:
    """Return how to call the compiler, or what is to be done without one.

    Raises:
        ToolchainMissingError: the variable names nothing that can be run.
    """
    named = os.environ.get(VARIABLE)
    program = shutil.which(named or PROGRAM)
    if program is None and named:
        raise ToolchainMissingError(
            f"{VARIABLE} names {named}, which cannot be run", hint=f"{INSTALL}, or unset it to stop at the TFLite model"
        )
    if program is None:
        return Door(f"{PROGRAM} is not found", INSTALL, (PROGRAM, "--show_operations", "--out_dir", ".", MODEL_FILE))
    command = (program, "--show_operations", "--out_dir", str(folder), str(model))
    return Compiler("the Edge TPU compiler", command, folder / f"{model.stem}_edgetpu.tflite", "edgetpu-custom-op")
