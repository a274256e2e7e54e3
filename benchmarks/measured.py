"""Run a command and print what it took: `python measured.py SECONDS BYTES COMMAND ...` -> [CPU s, peak MiB, exit code].

A small process of its own between the benchmark and what it measures: Linux counts what the starting process holds
into the peak of the one that it starts. The limits on CPU seconds and on bytes of address space are inherited, and so
is standard error.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys


def main() -> None:
    seconds, size = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    done = subprocess.run(sys.argv[3:], stdout=subprocess.DEVNULL, check=False)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, done.returncode]))


main()
