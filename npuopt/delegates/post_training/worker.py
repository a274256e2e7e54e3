# pyright: basic, reportMissingImports=false
# ^ runs in the environment of the vendor's tool, whose packages the checker does not see; nothing imports this file.
"""Hands a float ONNX model and calibration data to a vendor's tool, which quantizes and compiles it.

Started as `python FILE REQUEST ANSWER`, by npuopt or by hand in the folder of an artifact. Imports nothing of npuopt.

Request: {"road": "espressif" or "kendryte", "model": file, "data": npz, "inputs": [[name, shape]], "output": file,
"samples": the most to use, "settings": of the road}. The npz holds an array for each input, its first axis the samples.
"""

import json
import sys
import tempfile
import time
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

FEWEST_SAMPLES = {"espressif": 2, "kendryte": 1}
"""esp-ppq takes 2 to 512 calibration steps."""
PACKAGES = {"espressif": ("esp-ppq", "torch"), "kendryte": ("nncase", "nncase-kpu")}


class RefusedError(Exception):
    """One sentence why there is no result."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        answer = compile_model(request)
    except RefusedError as error:
        answer = {"refused": str(error)}
    except ImportError as error:
        answer = {"missing": str(error)[:400]}
    print(json.dumps(answer))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Compile; say how many samples were used, how long it took, and with what."""
    road, output = request["road"], Path(request["output"])
    columns = read_samples(Path(request["data"]), request["inputs"], request["samples"])
    count = len(columns[0])
    if count < FEWEST_SAMPLES[road]:
        raise RefusedError(f"{count} calibration samples are too few: it takes {FEWEST_SAMPLES[road]}")
    started = time.perf_counter()
    try:
        binary = {"espressif": espressif, "kendryte": kendryte}[road](request, columns)
    except ImportError:
        raise
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}"[:400]) from error
    if not binary:
        raise RefusedError("it wrote an empty file")
    output.write_bytes(binary)
    return {"samples": count, "seconds": time.perf_counter() - started, "tools": tools(road)}


def espressif(request: dict, columns: list) -> bytes:
    """Let esp-ppq quantize and pack the model for ESP-DL."""
    import torch  # noqa: PLC0415 -- of this tool alone
    from esp_ppq.api import espdl_quantize_onnx  # noqa: PLC0415

    samples = [[torch.from_numpy(column[place]) for column in columns] for place in range(len(columns[0]))]
    with tempfile.TemporaryDirectory() as scratch:
        model, packed = Path(scratch) / "model.onnx", Path(scratch) / "model.espdl"
        model.write_bytes(Path(request["model"]).read_bytes())  # it writes a simplified model over the one it reads
        espdl_quantize_onnx(
            onnx_import_file=str(model),
            espdl_export_file=str(packed),
            calib_dataloader=samples,
            calib_steps=len(samples),
            input_shape=[shape for _, shape in request["inputs"]],
            inputs=samples[0],
            target=request["settings"]["chip"],
            num_of_bits=request["settings"]["bits"],
            device="cpu",
            error_report=False,
        )
        return packed.read_bytes()


def kendryte(request: dict, columns: list) -> bytes:
    """Let nncase quantize and compile the model."""
    import nncase  # noqa: PLC0415 -- of this tool alone

    settings = request["settings"]
    options = nncase.CompileOptions()
    options.target = settings["chip"]
    compiler = nncase.Compiler(options)
    compiler.import_onnx(Path(request["model"]).read_bytes(), nncase.ImportOptions())
    quantization = nncase.PTQTensorOptions()
    quantization.quant_type = settings["activation"]
    quantization.w_quant_type = settings["weight"]
    quantization.samples_count = len(columns[0])
    quantization.set_tensor_data([list(column) for column in columns])
    compiler.use_ptq(quantization)
    compiler.compile()
    return compiler.gencode_tobytes()


def read_samples(path: Path, inputs: list, most: int) -> list:
    """Read up to `most` samples of every input, as float32."""
    try:
        with zipfile.ZipFile(path):
            pass
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name, _ in inputs if name not in arrays.files]
            if missing:
                raise RefusedError(f"the calibration data has no array {missing[0]!r}, but {sorted(arrays.files)[:8]}")
            columns = [np.ascontiguousarray(arrays[name][:most], np.float32) for name, _ in inputs]
    except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise RefusedError(f"the calibration data cannot be read as an npz ({error})") from error
    for place, (name, shape) in enumerate(inputs):
        column = columns[place]
        if shape[:1] == [1] and list(column.shape[1:]) == shape[1:]:
            columns[place] = column = column[:, None]  # samples of a batch of one may come without that axis
        if list(column.shape[1:]) != shape:
            raise RefusedError(f"samples of {name!r} have shape {list(column.shape[1:])}, not {shape}")
    if len({len(column) for column in columns}) != 1:
        raise RefusedError("the inputs have different numbers of calibration samples")
    return columns


def tools(road: str) -> dict:
    """Return the versions of what compiled."""
    found = {}
    for package in PACKAGES[road]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


if __name__ == "__main__":
    main()
