"""The Android NNAPI road: an ONNX model for ONNX Runtime's NNAPI provider, held against that runtime's own checker."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from npuopt.delegates.contract import CompiledRegion, NodeOnDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import onnx

    from npuopt.delegates.contract import Limits
    from npuopt.target import Target

MODEL_FILE = "model.onnx"
CHECKER = "onnxruntime.tools.mobile_helpers.usability_checker"
NEXT = (
    "not compiled here: Android compiles it on the device; there, add the NNAPI provider of ONNX Runtime's Android"
    " package to the session's options, and read at log level verbose which nodes it took"
)


class NnapiDelegate:
    """Writes what ONNX Runtime's NNAPI provider takes on Android. Numbers are ONNX Runtime's on the CPU."""

    road: ClassVar[str] = "nnapi"
    not_probed: ClassVar[str] = (
        "Android compiles on the device; the checker of ONNX Runtime, which `npuopt compile` asks, knows op types"
        " and fixed shapes alone"
    )

    def ensure_available(self) -> None:
        """Do nothing: ONNX Runtime, and its checker, are always installed with npuopt."""

    def compile(self, model: Path, folder: Path, target: Target, *, limits: Limits) -> CompiledRegion:
        """Write the model, and ask ONNX Runtime's checker which nodes its NNAPI provider takes.

        Raises:
            InputError: ONNX Runtime does not load the model.
        """
        del target, limits  # one table for every phone, read in this process
        from npuopt.graph import Session, infer_shapes, load, save, to_proto  # noqa: PLC0415 -- heavy

        loaded = load(model)
        infer_shapes(loaded)
        path = folder / MODEL_FILE
        save(loaded, path, external_data=False)
        Session(path)
        proto = to_proto(loaded)
        nodes, partitions = check_nodes(proto)
        figures: dict[str, Any] = {
            "model_bytes": path.stat().st_size,
            "partitions": partitions,
            "nodes_by_the_checker": f"{sum(node.on_npu for node in nodes)} of {len(nodes)}",
            "compiled": NEXT,
        }
        tools = {"onnxruntime": version("onnxruntime")}
        return CompiledRegion(self.road, folder, (MODEL_FILE,), nodes=nodes, figures=figures, tools=tools)

    def run(
        self,
        region: CompiledRegion,
        samples: Sequence[Mapping[str, np.ndarray]],
        target: Target,
        *,
        limits: Limits,
    ) -> list[dict[str, np.ndarray]]:
        """Run the written model on ONNX Runtime's CPU kernels, quantized arithmetic exact.

        Raises:
            InputError: a sample does not fit.
        """
        del target, limits
        from npuopt.graph import Session  # noqa: PLC0415

        session = Session(region.folder / MODEL_FILE, optimize=True)
        return [session.run(sample) for sample in samples]


def check_nodes(model: onnx.ModelProto) -> tuple[tuple[NodeOnDevice, ...], int]:
    """Ask ONNX Runtime's usability checker about a model whose shapes are known.

    Returns:
        What it says of every node, and into how many parts the provider would cut the model.
    """
    checker: Any = import_module(CHECKER)  # it has no types
    found = checker.check_nnapi_partitions(model, require_fixed_input_sizes=bool(model.graph.value_info))
    taken = {tuple(node.output) for group in found.supported_groups for node in group}
    unknown = {str(op) for op in found.unsupported_ops}
    nodes = tuple(
        NodeOnDevice(
            node.name,
            node.op_type,
            on_npu=(on_npu := tuple(node.output) in taken),
            reason="" if on_npu else _reason(node, unknown),
        )
        for node in model.graph.node
    )
    return nodes, int(found.num_partitions)


def _reason(node: onnx.NodeProto, unknown: set[str]) -> str:
    op = f"{node.domain or 'ai.onnx'}:{node.op_type}"
    return f"the NNAPI provider has no {op}" if op in unknown else "the NNAPI provider wants fixed shapes"
