"""The log of a child process: bounded while it is written, kept where a failed run does not delete it."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import IO

LOG_BYTES = 4 << 20
"""Largest log that is kept: the first half of what was printed and the last half, with a note between."""
KEPT_LOGS = 50
CHUNK_BYTES = 1 << 16


class LogPump(threading.Thread):
    """Copies what a child prints into a file: the first half of `limit` bytes as it comes, the last half at the end."""

    def __init__(self, source: IO[bytes], path: Path, limit: int = LOG_BYTES) -> None:
        """Start copying from `source` until its last writer closes it; then close it."""
        super().__init__(name="child-log", daemon=True)
        self._source = source
        self._path = path
        self._half = limit // 2
        self.start()

    def run(self) -> None:
        """Copy until the end."""
        tail: deque[bytes] = deque()
        written = kept = left_out = 0
        with self._source, self._path.open("wb", buffering=0) as log:
            while chunk := os.read(self._source.fileno(), CHUNK_BYTES):
                head = chunk[: self._half - written]
                written += log.write(head)
                tail.append(chunk[len(head) :])
                kept += len(tail[-1])
                while kept - len(tail[0]) > self._half:
                    kept -= len(tail[0])
                    left_out += len(tail.popleft())
            if left_out:
                log.write(f"\n[... {left_out} bytes left out ...]\n".encode())
            log.write(b"".join(tail))

    def finish(self) -> None:
        """Wait until everything printed is in the file. The child and its group must have ended."""
        self.join(timeout=30)


def last_line(log: Path) -> str:
    """Return the last line in a log that says anything, at most 300 characters, without terminal colours."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - CHUNK_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    lines = [" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in text.splitlines()]
    return next((line[-300:] for line in reversed(lines) if line), "")


def log_folder() -> Path:
    """Return the folder for logs of failed tools: below XDG_CACHE_HOME (default ~/.cache), else the temporary one."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "npuopt" / "logs"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        folder = Path(tempfile.gettempdir()) / "npuopt-logs"
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_log(log: Path) -> Path:
    """Copy a log to where it outlives the run, drop the oldest beyond KEPT_LOGS, and return its new path."""
    try:
        folder = log_folder()
        handle, name = tempfile.mkstemp(prefix=f"{log.stem}-", suffix=".log", dir=folder)
        os.close(handle)
        kept = Path(name)
        shutil.copyfile(log, kept)
        for old in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
    except OSError:
        return log
    return kept
