"""Quantize one file with one other quantizer, as its documentation shows: `python quantize_peer.py JOB.json`.

Imports nothing of npuopt: it runs in the peers' own environment, and its whole process is what is measured. The job
names the tool, the frozen float model, what to write, the scheme, and an .npz of calibration samples.
"""

# ruff: noqa: PLC0415 -- each process imports the one tool that is measured
from __future__ import annotations

import json
import resource
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 32
OPSET = 21
"""Has integers of 4 bits, and scales by block."""

BY_CHANNEL = 13
"""The first opset with scales by channel, which the tools write whatever the source is of."""


@dataclass(frozen=True)
class Job:
    """What to do.

    Attributes:
        tool: one of `TOOLS`.
        source: the float model.
        output: the file to write.
        scheme: such as a8w8; w4, w4a (asymmetric) and w8 are weights alone.
        calibration: an .npz; the leading axis of each array counts samples.
        gibibytes: of memory that the tool may ask for.
        dims: to freeze, by name or as `input:axis`.
        is_transformer: for tools that ask.
    """

    tool: str
    source: str
    output: str
    scheme: str
    calibration: str
    gibibytes: float
    dims: dict[str, int]
    is_transformer: bool = False

    def samples(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield one dict of the model's inputs for each sample."""
        with np.load(self.calibration, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        for index in range(len(next(iter(arrays.values())))):
            yield {name: array[index] for name, array in arrays.items()}


def ort_static(job: Job, method: str) -> None:
    from onnxruntime import quantization as tool

    with preprocessed(job) as ready:
        tool.quantize_static(
            ready,
            job.output,
            reader(job),
            quant_format=tool.QuantFormat.QDQ,
            per_channel=True,
            activation_type=activation_type(job),
            weight_type=weight_type(job),
            calibrate_method=getattr(tool.CalibrationMethod, method),
            extra_options={"UseQDQContribOps": False},
        )


def ort_qnn(job: Job) -> None:
    from onnxruntime import quantization as tool
    from onnxruntime.quantization.execution_providers import qnn

    with preprocessed(job) as ready:
        changed = f"{ready}.changed.onnx"
        source = changed if qnn.qnn_preprocess_model(ready, changed) else ready
        config = qnn.get_qnn_qdq_config(
            source,
            reader(job),
            activation_type=activation_type(job),
            weight_type=weight_type(job),
            per_channel=True,
        )
        tool.quantize(source, job.output, config)


def ort_nbits(job: Job, *, symmetric: bool) -> None:
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as tool

    bits = int(job.scheme.strip("wa"))
    config = tool.DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=symmetric, bits=bits)
    with preprocessed(job) as ready:
        quantizer = tool.MatMulNBitsQuantizer(onnx.load(ready), algo_config=config)
        quantizer.process()
    quantizer.model.save_model_to_file(job.output, has_external_data(job.source))


def nncf(job: Job) -> None:
    import nncf as tool
    import onnx
    import onnx.version_converter

    with preprocessed(job) as ready:
        model = onnx.load(ready)
    modes = {"w4": "INT4_SYM", "w4a": "INT4_ASYM", "w8": "INT8_SYM"}
    if job.scheme in modes:
        mode = tool.CompressWeightsMode[modes[job.scheme]]
        options = {} if job.scheme == "w8" else {"group_size": BLOCK, "ratio": 1.0}
        made = tool.compress_weights(onnx.version_converter.convert_version(model, OPSET), mode=mode, **options)
    elif job.scheme == "a8w8":
        kind = tool.ModelType.TRANSFORMER if job.is_transformer else None
        samples = list(job.samples())
        made = tool.quantize(model, tool.Dataset(samples), subset_size=len(samples), model_type=kind)
    else:
        raise ValueError(f"has no {job.scheme} for ONNX")
    onnx.save(made, job.output, save_as_external_data=has_external_data(job.source))


@contextmanager
def preprocessed(job: Job) -> Iterator[str]:
    """Write the model as ONNX Runtime's quantizers want it: with static shapes, and constants folded."""
    import onnx
    import onnx.version_converter
    from onnxruntime.quantization.shape_inference import quant_pre_process

    external = has_external_data(job.source)
    with tempfile.TemporaryDirectory() as folder:
        fixed, path = (str(Path(folder) / name) for name in ("fixed.onnx", "model.onnx"))
        source = with_dims(onnx.load(job.source), job.dims)
        if opset(source) < BY_CHANNEL:
            source = onnx.version_converter.convert_version(source, BY_CHANNEL)
        onnx.save(source, fixed, save_as_external_data=external)
        quant_pre_process(fixed, path, save_as_external_data=external)
        model = onnx.load(path, load_external_data=False)
        del model.metadata_props[:]  # qnn_preprocess_model stumbles over them
        onnx.save(model, path)
        yield path


def with_dims(model: Any, dims: dict[str, int]) -> Any:  # noqa: ANN401 -- an onnx.ModelProto; onnx is imported late
    """Give the inputs these sizes, and leave all other shapes to inference."""
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            size = dims.get(dim.dim_param, dims.get(f"{value.name}:{axis}"))
            if size is not None:
                dim.dim_value = size
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model


def opset(model: Any) -> int:  # noqa: ANN401 -- as above
    return next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))


def reader(job: Job) -> Any:  # noqa: ANN401 -- a CalibrationDataReader; onnxruntime is imported late
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rewind()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.samples, None)

        def rewind(self) -> None:
            self.samples = job.samples()

    return Reader()


def activation_type(job: Job) -> Any:  # noqa: ANN401 -- a QuantType
    from onnxruntime.quantization import QuantType

    return QuantType.QUInt16 if job.scheme.startswith("a16") else QuantType.QUInt8


def weight_type(job: Job) -> Any:  # noqa: ANN401 -- a QuantType
    from onnxruntime.quantization import QuantType

    return QuantType.QInt4 if job.scheme.endswith("w4") else QuantType.QInt8


def has_external_data(path: str) -> bool:
    return Path(f"{path}.data").exists()


TOOLS: dict[str, Callable[[Job], None]] = {
    "ort-minmax": lambda job: ort_static(job, "MinMax"),
    "ort-entropy": lambda job: ort_static(job, "Entropy"),
    "ort-percentile": lambda job: ort_static(job, "Percentile"),
    "ort-qnn": ort_qnn,
    "ort-nbits": lambda job: ort_nbits(job, symmetric=True),
    "ort-nbits-asymmetric": lambda job: ort_nbits(job, symmetric=False),
    "nncf": nncf,
}


if __name__ == "__main__":
    wanted = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    most = int(wanted.gibibytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    TOOLS[wanted.tool](wanted)
