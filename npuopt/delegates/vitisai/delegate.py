"""The AMD XDNA road: the ONNX model and the settings that the Vitis AI provider compiles on its first session."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.contract import CompiledRegion
from npuopt.errors import InternalError
from npuopt.target.roads import VitisAiDelegate as Chip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from npuopt.delegates.contract import Limits
    from npuopt.graph import Model
    from npuopt.target import Target

MODEL_FILE, OPTIONS_FILE, CONFIG_FILE = "model.onnx", "provider_options.json", "vai_ep_config.json"
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
PASSES = ("init", "vaiml_partition")
NEXT = (
    "not compiled here: the compiler comes with AMD's Ryzen AI software, which no package index has; on such a machine"
    " open a session on model.onnx with VitisAIExecutionProvider and the options in provider_options.json, and read"
    " vitisai_ep_report.json in its cache: nodes under CPU fell back"
)


class VitisAiDelegate:
    """Writes what AMD's Vitis AI provider takes. Numbers are ONNX Runtime's on the CPU, of the same quantized graph."""

    road: ClassVar[str] = "vitisai"

    def ensure_available(self) -> None:
        """Do nothing: what is written here needs ONNX Runtime alone."""

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write the model in the opset that the provider recommends, and the provider's options beside it.

        The folder gets `model.onnx` and `provider_options.json`; a model without quantizers, which the provider
        computes in bfloat16, also `vai_ep_config.json`.

        Raises:
            InputError: a node has no form in that opset, or ONNX Runtime does not load what was written.
        """
        del limits  # written in this process
        from npuopt.graph import Session, load, save, write_down  # noqa: PLC0415 -- onnx and onnxruntime are heavy

        chip = chip_of(target)
        loaded = load(model)
        write_down(loaded, chip.max_opset or loaded.opset_imports[""], str(model))
        path = folder / MODEL_FILE
        save(loaded, path, external_data=False)
        Session(path)
        quantizers = sum(node.op_type in QUANTIZERS for node in loaded.graph)
        options: dict[str, Any] = {"cache_dir": "cache", "cache_key": "region", "enable_cache_file_io_in_mem": 0}
        files = (MODEL_FILE, OPTIONS_FILE)
        if quantizers:
            options |= {"target": chip.backend} | ({"xclbin": chip.xclbin} if chip.xclbin else {})
        else:
            options["config_file"] = CONFIG_FILE
            _write(folder / CONFIG_FILE, _configuration())
            files = (*files, CONFIG_FILE)
        _write(folder / OPTIONS_FILE, options)
        figures = {
            "opset": loaded.opset_imports[""],
            "arithmetic": "integers" if quantizers else "bfloat16",
            "quantizers": quantizers,
            "model_bytes": path.stat().st_size,
            "compiled": NEXT,
            **_constants(loaded),
        }
        return CompiledRegion(self.road, folder, files, figures=figures, tools={"onnxruntime": version("onnxruntime")})

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


def chip_of(target: Target) -> Chip:
    """Return the settings of this road.

    Raises:
        InternalError: when the target belongs to another road.
    """
    if isinstance(target.delegate, Chip):
        return target.delegate
    raise InternalError(f"{target.name} is compiled by {target.delegate.road}, not by {VitisAiDelegate.road}")


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
