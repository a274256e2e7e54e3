"""Quantize one float TFLite model with ai-edge-quantizer, static 8 bits: `python ai_edge_quantizer_peer.py JOB.json`.

Imports nothing of npuopt: it runs in an environment of its own. The job names the float model, the file to write and an
.npz of calibration samples: arrays by input, the leading axis of each counts samples.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main() -> None:
    """Quantize as the tool's documentation shows."""
    from ai_edge_quantizer import quantizer, recipe  # noqa: PLC0415 -- pyright: ignore[reportMissingImports] -- not here

    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with np.load(job["calibration"], allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    count = len(next(iter(arrays.values())))
    samples = [{name: array[index] for name, array in arrays.items()} for index in range(count)]
    tool = quantizer.Quantizer(job["source"], recipe.static_wi8_ai8())
    seen = tool.calibrate({job["signature"]: samples}, num_threads=1)
    tool.quantize(seen).export_model(job["output"], overwrite=True)


if __name__ == "__main__":
    main()
