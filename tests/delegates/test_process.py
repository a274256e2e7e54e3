"""Child processes: every way they end becomes one clear ending, and nothing of them is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.process import ChildRun, run_child
from npuopt.errors import InternalError, VendorToolError

PREAMBLE = "import json, os, signal, subprocess, sys, time\nrequest = json.load(open(sys.argv[1]))\n"
ANSWER = "json.dump({!r}, open(sys.argv[2], 'w'))\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def run(tmp_path):
    """Run a worker given as source text."""

    def start(source: str, *, seconds: float = 20, memory_mib: int = 1024, **request) -> ChildRun:
        worker = tmp_path / "worker.py"
        worker.write_text(PREAMBLE + source)
        return run_child(worker, request, log=tmp_path / "tool.log", limits=Limits(seconds, memory_mib))

    return start


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie nobody reaps yet does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_the_answer_and_what_was_printed_come_back(run):
    child = run("print('hello'); json.dump({'double': 2 * request['value']}, open(sys.argv[2], 'w'))", value=21)
    assert child.require("the tool") == {"double": 42}
    assert child.log.read_text() == "hello\n"
    assert child.ending == "answered"


def test_a_refusal_is_an_error_that_says_why(run):
    child = run(ANSWER.format({"refused": "Operators of type Det\nare not supported"}))
    with pytest.raises(VendorToolError, match="the tool refused it: Operators of type Det are not supported") as caught:
        child.require("the tool", where="region 0")
    assert str(caught.value).startswith("region 0: ")
    assert caught.value.exit_code == 7


def test_a_crash_is_named_by_its_signal_and_the_log_is_kept(run):
    child = run("print('before it', flush=True); os.kill(os.getpid(), signal.SIGSEGV)")
    assert (child.ending, child.exit_code) == ("crashed", -signal.SIGSEGV)
    with pytest.raises(VendorToolError, match=r"the tool crashed \(Segmentation fault\); its log: ") as caught:
        child.require("the tool")
    kept = Path(caught.value.hint.removeprefix("its log: "))
    assert kept != child.log
    assert kept.read_text() == "before it\n"


def test_a_hang_is_stopped_with_everything_it_started(run, tmp_path):
    pid_file = tmp_path / "pid"
    started = time.monotonic()
    child = run(
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(request['pid_file'], 'w').write(str(grandchild.pid))\n"
        "time.sleep(60)",
        seconds=1.5,
        pid_file=str(pid_file),
    )
    assert time.monotonic() - started < 20
    assert child.ending == "timed out"
    assert not alive(int(pid_file.read_text()))
    with pytest.raises(VendorToolError, match=r"did not end in time and was stopped \(limit: 1.5 s\)"):
        child.require("the tool")


def test_what_a_worker_leaves_running_ends_with_it(run, tmp_path):
    pid_file = tmp_path / "pid"
    child = run(
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open(request['pid_file'], 'w').write(str(grandchild.pid))\n" + ANSWER.format({}),
        pid_file=str(pid_file),
    )
    assert child.ending == "answered"
    assert not alive(int(pid_file.read_text()))


def test_memory_is_bounded(run):
    child = run("blocks = []\nwhile True: blocks.append(b'x' * (16 << 20)); time.sleep(0.02)", memory_mib=200)
    assert child.ending == "out of memory"
    assert child.peak_mib > 200
    with pytest.raises(VendorToolError, match=r"needed too much memory \(limit: 200 MiB\)"):
        child.require("the tool")


def test_one_huge_allocation_fails_inside_the_child(run):
    child = run("block = bytearray(64 << 30)", memory_mib=200)
    assert (child.ending, child.detail) == ("out of memory", "MemoryError")


def test_being_killed_from_outside_counts_as_memory(run):
    assert run("os.kill(os.getpid(), signal.SIGKILL)").detail == "killed by the system"


def test_a_failure_quotes_the_last_line(run):
    child = run("raise RuntimeError('no such backend')")
    with pytest.raises(VendorToolError, match=r"failed with exit code 1 \(RuntimeError: no such backend\)"):
        child.require("the tool")


@pytest.mark.parametrize("written", ["", "not json", "[1, 2]", "\\xff", "[" * 100_000])
def test_a_garbled_answer_is_no_answer(run, written):
    child = run(f"print('done'); open(sys.argv[2], 'wb').write(b'{written}')")
    assert child.ending == "no answer"
    with pytest.raises(VendorToolError, match=r"ended without an answer \(done\)"):
        child.require("the tool")


def test_a_chatty_child_keeps_its_first_and_last_words(run):
    child = run("print('first'); print('x' * (9 << 20)); print('last')\n" + ANSWER.format({}))
    text = child.log.read_text()
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert "bytes left out" in text
    assert len(text) < 5 << 20


def test_terminal_colours_do_not_reach_the_message(run):
    assert "\x1b" not in run("print('\\x1b[31mred\\x1b[m'); sys.exit(3)").detail


def test_interrupting_leaves_no_child(run, tmp_path):
    pid_file = tmp_path / "pid"

    def interrupt() -> None:
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    waiter = threading.Thread(target=interrupt)
    waiter.start()
    with pytest.raises(KeyboardInterrupt):
        run("open(request['pid_file'], 'w').write(str(os.getpid())); time.sleep(60)", pid_file=str(pid_file))
    waiter.join()
    assert not alive(int(pid_file.read_text()))


def test_old_logs_of_failures_are_dropped(run, monkeypatch):
    monkeypatch.setattr("npuopt.delegates.child_log.KEPT_LOGS", 2)
    child = run("sys.exit(1)")
    for _ in range(4):
        with pytest.raises(VendorToolError) as caught:
            child.require("the tool")
    assert len(list(Path(caught.value.hint.removeprefix("its log: ")).parent.iterdir())) == 2


def test_a_missing_interpreter_is_said(tmp_path):
    with pytest.raises(InternalError, match="cannot start a child process"):
        run_child(tmp_path, {}, log=tmp_path / "log", limits=Limits(), python=str(tmp_path / "no-python"))
