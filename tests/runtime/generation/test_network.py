"""Generation opens no network connection: the kernel ends a process that asks for an internet socket, and none does."""

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.toy_decoder import write_artifact

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the filter is written for Linux on x86-64"
)

FILTERED = """
import ctypes, struct, sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06            # instructions of classic BPF
SOCKET, INTERNET, INTERNET_6 = 41, 2, 10          # the system call's number, and the families
KILL, ALLOW = 0x80000000, 0x7FFF0000
program = [
    (LOAD, 0, 0, 0), (EQUAL, 0, 4, SOCKET),       # any other call is allowed
    (LOAD, 0, 0, 16), (EQUAL, 1, 0, INTERNET), (EQUAL, 0, 1, INTERNET_6),
    (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
class Filter(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0            # PR_SET_NO_NEW_PRIVS, which the next needs
assert libc.prctl(22, 2, ctypes.byref(Filter(len(program), ctypes.addressof(code)))) == 0  # PR_SET_SECCOMP, filter
"""

GENERATE = """
sys.argv = ["npuopt", "generate", *sys.argv[1:]]
from npuopt.cli import main
main()
"""

ASK = "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM)"


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FILTERED + program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("engine", ["cpu", "device"])
def test_generating_asks_for_no_socket(tmp_path: Path, engine: str) -> None:
    artifact = write_artifact(tmp_path / "artifact")
    done = run(GENERATE, artifact, "--prompt", "My fellow", "--max-tokens", 4, "--engine", engine)
    assert done.returncode == 0, done.stderr
    assert "4 tokens" in done.stderr


def test_the_filter_would_notice() -> None:
    assert run(ASK).returncode == -signal.SIGSYS
