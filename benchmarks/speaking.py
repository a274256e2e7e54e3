"""Let a compiled language model speak once and print what it took: `python -m benchmarks.speaking ARTIFACT PROMPT N`.

A process of its own, as a cold start is one: -> [seconds since the epoch at the first token, seconds from the prompt to
it, tokens/s after it, peak MiB of the whole process, MiB resident at the end, MiB of them of the file that the table of
token vectors lies in; 0 where there is none].
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from npuopt.runtime import GenerateOptions, open_generator


def main() -> None:
    artifact, prompt, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    generator = open_generator(artifact, threads=1)
    times = [time.perf_counter()]
    first = 0.0
    for _ in generator.generate(prompt, GenerateOptions(max_tokens=count, past_end=True)):
        times.append(time.perf_counter())
        first = first or time.time()
    rate = (len(times) - 2) / (times[-1] - times[1])
    table = generator.decoder.record.embedding
    file = "" if table is None else str((artifact / table.file).resolve())
    print(json.dumps([first, times[1] - times[0], rate, peak_mib(), resident_mib(), resident_mib(file) if file else 0]))


def peak_mib() -> float:
    """Return the most resident memory that this process had; `ru_maxrss` would count in what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def resident_mib(file: str = "") -> float:
    """Return what of this process's memory is resident now: all of it, or of one file.

    Pages that lie in several mappings of the process count once: those of the rows that were looked up are pages of
    the head too.
    """
    total, counted = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if line[:1] in "0123456789abcdef":
            counted = line.endswith(file)
        elif counted and line.startswith("Pss:"):
            total += int(line.split()[1])
    return total / 1024


if __name__ == "__main__":
    main()
