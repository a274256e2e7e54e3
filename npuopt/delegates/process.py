"""Runs one vendor tool in a child process, bounded in time, memory and log, and never left behind.

The protocol: the child is started as `python -P WORKER REQUEST ANSWER`, with -I for -P in an isolated environment;
REQUEST is a JSON file to read, ANSWER a JSON file to write: an object, with the key `refused` (one sentence) when the
tool said no. A worker is one file that imports no npuopt, so that it also runs in an isolated environment that has
only the vendor's packages.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from npuopt.delegates.child_log import LogPump, keep_log, last_line
from npuopt.errors import InternalError, VendorToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npuopt.delegates.contract import Limits

Ending = Literal["answered", "crashed", "timed out", "out of memory", "failed", "no answer"]

POLL_SECONDS = 0.05
ANSWER_BYTES = 256 << 20
"""Largest answer that is read; a placement of 100,000 nodes takes 30 MiB."""
ADDRESS_SPACE_HEADROOM_MIB = 8192
"""How much more address space than resident memory a child gets: libraries and mapped weights are not resident.
The QNN libraries alone map 1.2 GiB while 0.3 GiB is resident (measured, onnxruntime-qnn 2.7.0)."""
MEMORY_SIGNS = ("MemoryError", "bad_alloc", "Cannot allocate memory", "out of memory")


@dataclass(frozen=True)
class ChildRun:
    """How a child process ended.

    Attributes:
        ending: `answered` when it exited with 0 and wrote a JSON object, else what went wrong.
        answer: that object; empty unless `answered`.
        exit_code: negative for the signal that ended it.
        seconds: wall-clock.
        peak_mib: most resident memory seen over the process tree, in MiB; 0 where the system does not tell.
        log: what it printed.
        detail: the limit that was hit, the signal's name, or the last line printed.
    """

    ending: Ending
    answer: Mapping[str, Any]
    exit_code: int
    seconds: float
    peak_mib: int
    log: Path
    detail: str = ""

    def require(self, tool: str, *, where: str = "") -> Mapping[str, Any]:
        """Return the answer.

        Args:
            tool: what ran, as the start of a sentence: `the Hexagon compiler`.
            where: the model or region it ran on.

        Raises:
            VendorToolError: when it crashed, hung, ran out of memory, refused or answered nothing; the log is
                kept outside of any output folder and named.
        """
        refused = self.answer.get("refused")
        if self.ending == "answered" and refused is None:
            return self.answer
        what = f"{tool} refused it: {_one_line(str(refused))}" if refused is not None else self._sentence(tool)
        raise VendorToolError(what, where=where, hint=f"its log: {keep_log(self.log)}")

    def _sentence(self, tool: str) -> str:
        why = f" ({self.detail})" if self.detail else ""
        return {
            "crashed": f"{tool} crashed{why}",
            "timed out": f"{tool} did not end in time and was stopped{why}",
            "out of memory": f"{tool} needed too much memory{why}",
            "failed": f"{tool} failed with exit code {self.exit_code}{why}",
            "no answer": f"{tool} ended without an answer{why}",
        }[self.ending]


def run_child(
    worker: Path, request: Mapping[str, Any], *, log: Path, limits: Limits, python: str = sys.executable
) -> ChildRun:
    """Run `worker` on `request` and say how it ended. Raises nothing that the child did.

    The child leads a process group of its own, which is killed as a whole when a limit is hit, on Ctrl-C, and
    after the child's end.

    Args:
        worker: the one-file program.
        request: goes to it as JSON.
        log: file for its stdout and stderr, bounded in size.
        limits: wall-clock seconds and resident MiB of the process tree (the latter enforced on Linux).
        python: interpreter to start it with.
    """
    with tempfile.TemporaryDirectory(prefix="npuopt-child-") as scratch:
        request_file, answer_file = Path(scratch) / "request.json", Path(scratch) / "answer.json"
        request_file.write_text(json.dumps(request), encoding="utf-8")
        started = time.monotonic()
        # -P: a worker's folder holds modules whose names must not shadow installed packages.
        # -I, in an isolated environment: nor must what PYTHONPATH or the user's own packages would bring.
        alone = "-P" if python == sys.executable else "-I"
        command = [python, alone, str(worker), str(request_file), str(answer_file)]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise InternalError(f"cannot start a child process: {error.strerror}", where=python) from error
        pump = LogPump(cast("IO[bytes]", process.stdout), log)
        try:
            stopped, detail, peak = _watch(process, limits)
        finally:
            _kill_group(process)
            pump.finish()
        seconds = time.monotonic() - started
        answer = _read_answer(answer_file)
    ending, detail = _judge(stopped, detail, process.returncode, answer, last_line(log))
    known = answer if answer is not None and ending == "answered" else dict[str, Any]()
    return ChildRun(ending, known, process.returncode, seconds, peak, log, detail)


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> tuple[Ending | None, str, int]:
    """Wait for the end or for a limit. Returns what was hit, how much of it was allowed, and the peak in MiB."""
    _limit_address_space(process.pid, limits.memory_mib + ADDRESS_SPACE_HEADROOM_MIB)
    deadline = time.monotonic() + limits.seconds
    peak = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=POLL_SECONDS)
            return None, "", peak
        peak = max(peak, resident_mib(process.pid))
        if peak > limits.memory_mib:
            return "out of memory", f"limit: {limits.memory_mib} MiB", peak
        if time.monotonic() > deadline:
            return "timed out", f"limit: {limits.seconds:g} s", peak


def _judge(
    stopped: Ending | None, detail: str, exit_code: int, answer: Mapping[str, Any] | None, printed: str
) -> tuple[Ending, str]:
    """Turn limit, exit code, answer and last printed line into an ending and its detail."""
    if stopped is not None:
        return stopped, detail
    if exit_code == 0:
        return ("answered", "") if answer is not None else ("no answer", printed)
    if any(sign in printed for sign in MEMORY_SIGNS):
        return "out of memory", printed
    if exit_code == -signal.SIGKILL:
        return "out of memory", "killed by the system"
    if exit_code < 0:
        return "crashed", signal.strsignal(-exit_code) or f"signal {-exit_code}"
    return "failed", printed


def _read_answer(path: Path) -> Mapping[str, Any] | None:
    """Return the JSON object in `path`, or None when there is none or it is not to be read."""
    try:
        if path.stat().st_size > ANSWER_BYTES:
            return None
        answer: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started that still runs."""
    # PermissionError: macOS answers so for a group whose only member is a zombie.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _limit_address_space(pid: int, mib: int) -> None:
    """Bound the child's address space: what the polling below cannot see in time fails inside the child."""
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 -- the module has prlimit on Linux only

        with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_AS, (mib << 20, mib << 20))


def resident_mib(pid: int) -> int:
    """Return the resident memory of a process and its descendants in MiB; 0 where /proc does not tell."""
    total = 0
    waiting = [pid]
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in (process / "task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
    return total >> 20


def _one_line(text: str) -> str:
    return " ".join(text.split())[:600]
