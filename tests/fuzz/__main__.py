"""`python -m fuzz` with tests/ on the path: fuzz for a while and write what was found."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from fuzz.fuzzer import Fuzzer


def main() -> int:
    """Return 1 when something was found."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Optimize random graphs and compare in ONNX Runtime.")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, help="where to start; with --seconds 0, the one round to run")
    parser.add_argument("--finds", type=Path, default=Path("fuzz-finds"), help="folder for what is found")
    given = parser.parse_args()
    start = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"fuzzing from seed {start} for {given.seconds:.0f} s", flush=True)
    fuzzer = Fuzzer()
    fuzzer.run(start, given.seconds)
    print(f"graphs: {dict(fuzzer.counts)}; finds: {len(fuzzer.finds)}")
    for find in fuzzer.finds:
        print(f"{find}\n  in {find.write(given.finds)}; again: make fuzz SEED={find.seed} SECONDS=0")
    return 1 if fuzzer.finds else 0


if __name__ == "__main__":
    sys.exit(main())
