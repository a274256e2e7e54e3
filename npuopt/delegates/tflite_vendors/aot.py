"""The road of LiteRT's ahead-of-time tool: a TFLite model, and the vendor's compiler where its SDK is found."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.litert.region import MODEL_FILE
from npuopt.delegates.litert.toolchain import ensure_available
from npuopt.delegates.settings import settings_of
from npuopt.delegates.tflite_vendors.compiling import Compiler, Door, Road, compile_region, run_region
from npuopt.delegates.tflite_vendors.sdk import find_sdk, find_tool, package, variable
from npuopt.target.roads import LiteRtAotDelegate as Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import CompiledRegion, Limits
    from npuopt.target import Target

RESULT = "model_npu.tflite"
PARTITIONED = re.compile(
    r"Partitioned subgraph<(\d{1,9})>, selected (\d{1,9}) ops, from a total of (\d{1,9}) ops\."
    r" resulted in (\d{1,9}) partitions"
)
COMPLAINT = re.compile(
    r"(?:Could not load shared library \S{1,4096}: |ERROR: \[[^\]\n]{1,200}\] )([^\n]{1,400})$", re.MULTILINE
)
REFUSED = "the vendor's plug-in does not support it"
UNSUPPORTED = re.compile(r"LiteRT Op #\d{1,9} '(\w{1,60})' \(code=\d{1,9}\) is not supported")


class LiteRtAotDelegate:
    """Compiles regions to TFLite models whose operators of a vendor's NPU are one custom operator a partition."""

    road: ClassVar[str] = "litert-aot"
    not_probed: ClassVar[str] = "the vendor's SDK is in no package index; where it is at hand, `npuopt compile` asks it"

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when LiteRT is not installed; the vendor's SDK may be missing."""
        ensure_available()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write model.tflite, and model_npu.tflite where the vendor's SDK is found.

        Raises:
            ToolchainMissingError: the SDK's variable names a folder without the SDK.
            VendorToolError: a node has no TFLite form, or the tool failed or took nothing.
        """
        chip = settings_of(target, Settings)
        road = Road(self.road, chip.kernels, "aot.log", partial(find, chip), read_report, COMPLAINT)
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


def find(chip: Settings, model: Path, folder: Path) -> Compiler | Door:
    """Return how to call LiteRT's tool, or what is to be done where the SDK or the plug-in is missing.

    Raises:
        ToolchainMissingError: the SDK's variable names a folder without the SDK.
    """
    sdk, tool = find_sdk(chip), find_tool(chip)
    if sdk is None or tool is None:
        missing = f"no {chip.library} of {chip.manufacturer}'s SDK" if tool else f"no plug-in for {chip.manufacturer}"
        install = f"on x86-64 Linux, pip install {package(chip)}, or name the SDK's folder in {variable(chip)}"
        return Door(missing, install, ("apply_plugin_main", *_options(chip, MODEL_FILE, RESULT, "PLUG_IN_FOLDER")))
    search = [str(sdk), str(tool.libraries), str(tool.plug_in)]
    if inherited := os.environ.get("LD_LIBRARY_PATH"):
        search.append(inherited)
    return Compiler(
        f"LiteRT's compiler for {chip.manufacturer}",
        (str(tool.program), *_options(chip, str(model), str(folder / RESULT), str(tool.plug_in))),
        folder / RESULT,
        "DISPATCH_OP",
        {"LD_LIBRARY_PATH": os.pathsep.join(search)},
    )


def _options(chip: Settings, model: str, result: str, plug_in: str) -> tuple[str, ...]:
    return (
        "--cmd=apply",
        f"--model={model}",
        f"--o={result}",
        f"--soc_manufacturer={chip.manufacturer}",
        f"--soc_model={chip.soc_model}",
        f"--libs={plug_in}",
        *chip.options,
    )


def read_report(printed: str) -> dict[str, Any]:
    """Return how many operators the plug-in selected, of how many, in how many partitions, and what it refused."""
    found = [tuple(map(int, match.groups())) for match in PARTITIONED.finditer(printed)]
    refused = {_operator(match[1]): REFUSED for match in UNSUPPORTED.finditer(printed)}
    report: dict[str, Any] = {"statuses": refused}
    if found:
        report["selected_operators"] = sum(selected for _, selected, _, _ in found)
        report["all_operators"] = sum(total for _, _, total, _ in found)
        report["npu_subgraphs"] = sum(partitions for _, _, _, partitions in found)
    return report


def _operator(name: str) -> str:
    """Return TFLite's name of an operator for the plug-in's: `Conv2d` is CONV_2D, `Relu6` RELU6."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper().replace("2D", "_2D")
