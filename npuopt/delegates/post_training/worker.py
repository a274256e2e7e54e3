# pyright: basic, reportMissingImports=false
# ^ runs in the environment of the vendor's tool, whose packages the checker does not see; nothing imports this file.
"""Hands a float ONNX model and calibration data to a vendor's tool, which quantizes, compiles and simulates it.

Started as `python FILE REQUEST ANSWER`, by npuopt or by hand in the folder of an artifact. Imports nothing of npuopt.

Request: {"road": "espressif" or "kendryte", "model": file, "data": npz, "inputs": [[name, shape]], "output": file,
"samples": the most to use, "settings": of the road}. The npz holds an array for each input, its first axis the samples.
To simulate what lies in `output` then: also "results": [names], "given": [npz to read] and "made": [npz to write], with
arrays called by the place of the input or output.
"""

import contextlib
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

FEWEST_SAMPLES = {"espressif": 2, "kendryte": 1}
"""esp-ppq takes 2 to 512 calibration steps."""
ENCODINGS_FILE = "encodings.json"
"""What esp-ppq quantized with, beside what it packed."""
PACKAGES = {"espressif": ("esp-ppq", "torch"), "kendryte": ("nncase", "nncase-kpu")}


class RefusedError(Exception):
    """One sentence why there is no result."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        answer = simulate(request) if "given" in request else compile_model(request)
    except RefusedError as error:
        answer = {"refused": str(error)}
    except ImportError as error:
        answer = {"missing": str(error)[:400]}
    print(json.dumps(answer))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Compile; say how many samples were used, how long it took, and with what."""
    road, output = request["road"], Path(request["output"])
    columns = calibration(request)
    started = time.perf_counter()
    with refusals():
        if road == "espressif":
            binary, graph = espressif(request, columns)
            output.with_name(ENCODINGS_FILE).write_text(json.dumps(encodings(graph), indent=1), encoding="utf-8")
        else:
            binary = kendryte(request, columns)
    if not binary:
        raise RefusedError("it wrote an empty file")
    output.write_bytes(binary)
    return {"samples": len(columns[0]), "seconds": time.perf_counter() - started, "tools": tools(road)}


def simulate(request: dict) -> dict:
    """Run every npz of `given` on what was compiled, and write its outputs to that of `made`."""
    with refusals():
        run = {"espressif": simulated_espressif, "kendryte": simulated_kendryte}[request["road"]](request)
        for given, made in zip(request["given"], request["made"], strict=True):
            with np.load(given, allow_pickle=False) as arrays:
                found = run([arrays[str(place)] for place in range(len(arrays.files))])
            np.savez(made, **{str(place): one for place, one in enumerate(found)})
    return {"tools": tools(request["road"])}


@contextlib.contextmanager
def refusals():  # noqa: ANN201 -- a generator of nothing
    """Turn whatever the tool throws into its refusal."""
    try:
        yield
    except (ImportError, RefusedError):
        raise
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}"[:400]) from error


def calibration(request: dict) -> list:
    """Read the calibration data, as much of it as the tool wants."""
    columns = read_samples(Path(request["data"]), request["inputs"], request["samples"])
    fewest = FEWEST_SAMPLES[request["road"]]
    if len(columns[0]) < fewest:
        raise RefusedError(f"{len(columns[0])} calibration samples are too few: it takes {fewest}")
    return columns


def simulated_espressif(request: dict) -> Callable:
    """Return esp-ppq's executor of the quantized graph, which it makes anew: the packed file cannot be run here.

    That it is the same graph is seen from its encodings. The packed file itself comes out in another order each time.
    """
    import torch  # noqa: PLC0415 -- of this tool alone
    from esp_ppq.executor import TorchExecutor  # noqa: PLC0415

    _, graph = espressif(request, calibration(request))
    wanted = Path(request["output"]).with_name(ENCODINGS_FILE).read_text(encoding="utf-8")
    if encodings(graph) != json.loads(wanted):
        raise RefusedError("it quantizes otherwise than what was compiled: the calibration data or the tool is another")
    executor = TorchExecutor(graph=graph, device="cpu")

    def run(arrays: list) -> list:
        found = executor(inputs=[torch.from_numpy(array) for array in arrays], output_names=request["results"])
        return [np.asarray(one) for one in found]

    return run


def encodings(graph: Any) -> list:  # noqa: ANN401 -- a class of esp-ppq's
    """Return operation, tensor, scales and zero points of everything that esp-ppq's graph quantizes."""
    found = []
    for operation in graph.operations.values():
        for config, variable in getattr(operation, "config_with_variable", ()):
            if config.scale is None:  # left in float
                continue
            numbers = [np.asarray(one, np.float64).ravel().tolist() for one in (config.scale, config.offset)]
            found.append([operation.name, variable.name, *numbers])
    return sorted(found)


def simulated_kendryte(request: dict) -> Callable:
    """Return nncase's simulator of the compiled model."""
    import nncase  # noqa: PLC0415 -- of this tool alone

    simulator = nncase.Simulator()
    simulator.load_model(Path(request["output"]).read_bytes())

    def run(arrays: list) -> list:
        for place, array in enumerate(arrays):
            simulator.set_input_tensor(place, nncase.RuntimeTensor.from_numpy(array))
        simulator.run()
        return [simulator.get_output_tensor(place).to_numpy() for place in range(len(request["results"]))]

    return run


def espressif(request: dict, columns: list) -> tuple:
    """Let esp-ppq quantize and pack the model for ESP-DL; return what it packed, and its graph."""
    import torch  # noqa: PLC0415 -- of this tool alone
    from esp_ppq.api import espdl_quantize_onnx  # noqa: PLC0415

    torch.set_num_threads(1)  # sums in another order would be other ranges, and another file
    samples = [[torch.from_numpy(column[place]) for column in columns] for place in range(len(columns[0]))]
    with tempfile.TemporaryDirectory() as scratch:
        model, packed = Path(scratch) / "model.onnx", Path(scratch) / "model.espdl"
        model.write_bytes(Path(request["model"]).read_bytes())  # it writes a simplified model over the one it reads
        graph = espdl_quantize_onnx(
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
        return packed.read_bytes(), graph


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
