"""The AMD XDNA road: the ONNX model and the settings that the Vitis AI provider compiles on its first session."""

from __future__ import annotations

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.child_log import keep_log
from npuopt.delegates.contract import CompiledRegion
from npuopt.delegates.process import run_child
from npuopt.delegates.samples import read_header
from npuopt.delegates.settings import settings_of
from npuopt.delegates.vitisai.report import REPORT_FILE, nodes_on_device, read_report
from npuopt.errors import ToolchainMissingError, VendorToolError
from npuopt.target.roads import VitisAiDelegate as Chip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.graph import Model
    from npuopt.target import Target

WORKER = Path(__file__).with_name("worker.py")
VARIABLE = "NPUOPT_RYZEN_AI"
"""Environment variable that names the Python of AMD's Ryzen AI software."""
TOOL = "AMD's Vitis AI provider"
MODEL_FILE, OPTIONS_FILE, CONFIG_FILE = "model.onnx", "provider_options.json", "vai_ep_config.json"
CACHE_FOLDER, CACHE_KEY, LOG_FILE = "cache", "region", "vitisai.log"
MOST_CACHE_FILES = 10_000
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
PASSES = ("init", "vaiml_partition")
NEXT = (
    "not compiled here: the compiler comes with AMD's Ryzen AI software, which no package index has; on such a machine"
    f" name its Python in {VARIABLE} and compile again, or open a session on model.onnx with VitisAIExecutionProvider"
    f" and the options in provider_options.json, XLNX_ONNX_EP_REPORT_FILE={REPORT_FILE} set, and read that file in its"
    " cache: nodes under CPU fell back"
)
NUMBERS = "ONNX Runtime's CPU kernels on the same model; the NPU is not run"


class VitisAiDelegate:
    """Writes what AMD's Vitis AI provider takes, and lets it compile that where the Ryzen AI software is named.

    Numbers are ONNX Runtime's on the CPU, of the same quantized graph.
    """

    road: ClassVar[str] = "vitisai"
    not_probed: ClassVar[str] = (
        "AMD's compiler is part of the Ryzen AI software, which no package index has; where NPUOPT_RYZEN_AI names"
        " it, `npuopt compile` asks it"
    )

    def ensure_available(self) -> None:
        """Raise ToolchainMissingError when the variable names a Python that is not there."""
        _interpreter()

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write the model in the opset that the provider recommends, and the provider's options beside it.

        The folder gets `model.onnx` and `provider_options.json`; a model without quantizers, which the provider
        computes in bfloat16, also `vai_ep_config.json`. Where NPUOPT_RYZEN_AI names a Python with the provider, it
        also gets the provider's cache, and the result what its report says of each node.

        Raises:
            InputError: a node has no form in that opset, or ONNX Runtime does not load what was written.
            ToolchainMissingError: the variable names a Python without the provider.
            VendorToolError: the provider refuses, crashes, hangs, or leaves everything to the processor.
        """
        from npuopt.graph import Session, load, save, write_down  # noqa: PLC0415 -- onnx and onnxruntime are heavy

        chip = settings_of(target, Chip)
        loaded = load(model)
        write_down(loaded, chip.max_opset or loaded.opset_imports[""], str(model))
        path = folder / MODEL_FILE
        save(loaded, path, external_data=False)
        Session(path)
        quantizers = sum(node.op_type in QUANTIZERS for node in loaded.graph)
        options: dict[str, Any] = {
            "cache_dir": CACHE_FOLDER,
            "cache_key": CACHE_KEY,
            "enable_cache_file_io_in_mem": 0,  # else it writes no report
        }
        files = (MODEL_FILE, OPTIONS_FILE)
        if quantizers:
            options |= {"target": chip.backend} | ({"xclbin": chip.xclbin} if chip.xclbin else {})
        else:
            options["config_file"] = CONFIG_FILE
            _write(folder / CONFIG_FILE, _configuration())
            files = (*files, CONFIG_FILE)
        _write(folder / OPTIONS_FILE, options)
        figures: dict[str, Any] = {
            "opset": loaded.opset_imports[""],
            "arithmetic": "integers" if quantizers else "bfloat16",
            "quantizers": quantizers,
            "model_bytes": path.stat().st_size,
            "numbers": NUMBERS,
            **_constants(loaded),
        }
        tools = {"onnxruntime": version("onnxruntime")}
        python = _interpreter()
        if python is None:
            figures["compiled"] = NEXT
            return CompiledRegion(self.road, folder, files, figures=figures, tools=tools)
        answer = _compile(python, folder, options, str(model), limits)
        report = read_report(folder / CACHE_FOLDER / CACHE_KEY / REPORT_FILE)
        figures |= {**report.figures(), "compile_seconds": float(answer["seconds"])}
        if not figures["provider_npu_nodes"]:
            hint = f"its log: {keep_log(folder / LOG_FILE)}"
            raise VendorToolError(f"{TOOL} left every node to the processor", where=str(model), hint=hint)
        made = _cached(folder)
        figures["cache_bytes"] = sum((folder / name).stat().st_size for name in made)
        tools |= {str(name): str(known) for name, known in answer["tools"].items()}
        nodes = nodes_on_device(read_header(path).graph, report)
        return CompiledRegion(self.road, folder, (*files, *made), nodes, figures, tools, LOG_FILE)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the written model on ONNX Runtime's CPU kernels as it stands, float in 32 bits.

        Raises:
            InputError: a sample does not fit.
        """
        del target, limits
        from npuopt.graph import Session  # noqa: PLC0415

        # Not optimized: with exact quantized arithmetic its optimizer fails on 8-bit biases (onnxruntime 1.31.1:
        # "Attempt to replace the existing tensor"), and what stands in the file is what the NPU is to compute.
        session = Session(region.folder / MODEL_FILE)
        return [session.run(sample) for sample in samples]


def _interpreter() -> str | None:
    """Return the Python that has the provider; None where none is named.

    Raises:
        ToolchainMissingError: the variable names nothing that can be run.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    if (python := shutil.which(named)) is None:
        raise ToolchainMissingError(
            f"{VARIABLE} names {named}, which cannot be run",
            hint="name the Python of AMD's Ryzen AI software, or unset it to stop at the quantized model",
        )
    return python


def _compile(python: str, folder: Path, options: Mapping[str, Any], model: str, limits: Limits) -> Mapping[str, Any]:
    """Let the provider compile the written model into its cache, and write its report there."""
    here = folder.resolve()
    request = {
        "folder": str(here),
        "model": str(here / MODEL_FILE),
        "options": {**options, "cache_dir": str(here / CACHE_FOLDER)},
        "report": REPORT_FILE,
    }
    child = run_child(WORKER, request, log=folder / LOG_FILE, limits=limits, python=python)
    answer = child.require(TOOL, where=model)
    if "missing" in answer:
        why = " ".join(str(answer["missing"]).split())
        raise ToolchainMissingError(
            f"{VARIABLE} names {python}, which does not have {TOOL} ({why})",
            hint="name the Python of AMD's Ryzen AI software",
        )
    return answer


def _cached(folder: Path) -> list[str]:
    """Name what the provider left in its cache, relative to the region's folder; links are left out."""
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in (folder / CACHE_FOLDER).rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    if len(found) > MOST_CACHE_FILES:
        raise VendorToolError(f"{TOOL} left {len(found)} files, more than {MOST_CACHE_FILES}", where=str(folder))
    return found


def _constants(model: Model) -> dict[str, Any]:
    """Count the bytes of constants by element type."""
    found: dict[str, int] = {}
    for value in model.graph.initializers.values():
        if (held := value.const_value) is not None:
            kind = held.dtype.name.lower()
            found[kind] = found.get(kind, 0) + held.nbytes
    return {"constant_bytes": dict(sorted(found.items()))}


def _configuration() -> dict[str, Any]:
    """Return the provider's configuration for bfloat16, at the defaults of its documentation (Ryzen AI 1.8.0)."""
    settings = {"optimize_level": 1, "preferred_data_storage": "auto"}
    return {
        "passes": [
            {"name": "init", "plugin": "vaip-pass_init"},
            {"name": "vaiml_partition", "plugin": "vaip-pass_vaiml_partition", "vaiml_config": settings},
        ],
        "target": "VAIML",
        "targets": [{"name": "VAIML", "pass": list(PASSES)}],
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
