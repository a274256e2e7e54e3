# pyright: basic, reportMissingImports=false
# ^ runs in the environment of AMD's Ryzen AI software, whose packages the checker does not see; nothing imports it.
"""Opens one session with AMD's Vitis AI provider, which compiles the model and writes its report.

Started as `python FILE REQUEST ANSWER`. Imports nothing of npuopt.

Request: {"folder": where the options' relative paths start, "model": file, "options": of the provider,
"report": name of the file that it writes into its cache}.
"""

import json
import os
import sys
import time
from pathlib import Path

PROVIDER = "VitisAIExecutionProvider"
REPORT_VARIABLE = "XLNX_ONNX_EP_REPORT_FILE"
"""Without it the provider writes no report (Ryzen AI Software 1.8.0, docs/modelrun.rst)."""


def main() -> None:
    """Do what REQUEST says and write ANSWER."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.chdir(request["folder"])
    os.environ[REPORT_VARIABLE] = request["report"]
    try:
        answer = compile_model(request)
    except ImportError as error:
        answer = {"missing": str(error)[:400]}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


def compile_model(request: dict) -> dict:
    """Open the session; say how long that took and with which ONNX Runtime."""
    import onnxruntime  # noqa: PLC0415 -- of AMD's environment

    if PROVIDER not in onnxruntime.get_available_providers():
        return {"missing": f"its ONNX Runtime has no {PROVIDER}"}
    options = {name: str(value) for name, value in request["options"].items()}
    started = time.perf_counter()
    try:
        session = onnxruntime.InferenceSession(request["model"], providers=[PROVIDER], provider_options=[options])
    except Exception as error:  # noqa: BLE001 -- whatever it throws is its refusal
        return {"refused": f"{type(error).__name__}: {error}"[:400]}
    if PROVIDER not in session.get_providers():
        return {"refused": f"the session fell back to {', '.join(session.get_providers())}"}
    return {"seconds": time.perf_counter() - started, "tools": {"onnxruntime-vitisai": onnxruntime.__version__}}


if __name__ == "__main__":
    main()
