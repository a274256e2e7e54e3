# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# ^ runs in an environment of its own, whose packages the checker does not see; nothing imports this file.
"""Makes a Core ML package of a handed-over graph, or runs one on a Mac, as one JSON request says.

Started as `python -P worker.py REQUEST ANSWER`, always as a child process. Imports nothing of npuopt but the
translator beside it, which imports nothing of npuopt either.

Requests:
    {"operation": "compile", "graph": JSON file, "weights": npz, "output": .mlpackage to write,
     "deployment": "iOS18", "palette_bits": 0}
    {"operation": "run", "model": .mlpackage, "inputs": [npz], "outputs": [npz to write], "names": [Core ML's],
     "results": [Core ML's], "states": [[index of an input, index of the output that it comes back as]]}
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answer = {"compile": compile_graph, "run": run}[request["operation"]](request)
    answer["tools"] = {"coremltools": version("coremltools")}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_graph(request: dict) -> dict:
    """Translate, write, read back, and compare."""
    from onnx_to_mil.convert import RefusalError, convert  # noqa: PLC0415 -- found beside this file, once the path is set
    from onnx_to_mil.reading import read_package  # noqa: PLC0415

    graph = json.loads(Path(request["graph"]).read_text(encoding="utf-8"))
    with np.load(request["weights"], allow_pickle=False) as archive:
        weights = {name: archive[str(index)] for index, name in enumerate(graph["weights"])}
    started = time.perf_counter()
    try:
        model, translator = convert(graph, weights, request["deployment"], request["palette_bits"])
        model.save(request["output"])
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    except Exception as error:  # noqa: BLE001 -- whatever the vendor's library throws is its refusal
        return {"refused": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - started
    written = read_package(Path(request["output"]))
    lost = [name for name, array in translator.held.items() if _bytes(array) not in written["weights"]]
    floats = [array for array in weights.values() if array.dtype == np.float32 and array.size >= SMALLEST]
    kept = sum(array.astype(np.float16).tobytes() in written["weights"] for array in floats)
    return {
        "emitted": translator.emitted,
        "operations": written["operations"],
        "weight_elements": dict(sorted(written["sizes"].items())),
        "held": len(translator.held),
        "held_lost": lost,
        "float_weights": len(floats),
        "float_weights_kept": kept,
        "seconds": seconds,
    }


SMALLEST = 16
"""Elements from which on a weight lies in the weights' file and not in the program's text."""


def _bytes(array: np.ndarray) -> bytes:
    signed = array.dtype.kind == "i"
    return array.astype(np.int8 if signed else np.uint8).tobytes()


def run(request: dict) -> dict:
    """Run every npz of `inputs` with Core ML, which only a Mac has."""
    import coremltools  # noqa: PLC0415 -- converting needs other parts of it

    try:
        model = coremltools.models.MLModel(request["model"])
        for inputs, outputs in zip(request["inputs"], request["outputs"], strict=True):
            with np.load(inputs, allow_pickle=False) as arrays:
                given = {name: arrays[str(index)] for index, name in enumerate(request["names"])}
            made = predict(model, given, request)
            results = {str(index): np.asarray(made[name]) for index, name in enumerate(request["results"])}
            np.savez(outputs, allow_pickle=False, **results)
    except Exception as error:  # noqa: BLE001 -- as above
        return {"refused": str(error)}
    return {}


def predict(model: object, given: dict, request: dict) -> dict:
    """Run once; states, which hold 16-bit floats, are written before and read after, as if they were ports."""
    if not request["states"]:
        return model.predict(given)
    state = model.make_state()
    for index, _ in request["states"]:
        name = request["names"][index]
        state.write_state(name, given.pop(name).astype(np.float16))
    made = model.predict(given, state=state)
    returned = {request["results"][back]: request["names"][index] for index, back in request["states"]}
    return {**made, **{result: state.read_state(name) for result, name in returned.items()}}


if __name__ == "__main__":
    main()
