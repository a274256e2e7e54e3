"""`npuopt generate`, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from npuopt.delegates.host.ort_delegate import OrtDelegate
from npuopt.errors import VendorToolError
from support.command import complaint, npuopt
from support.toy_decoder import write_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> Path:
    return write_artifact(tmp_path_factory.mktemp("toy") / "artifact")


def said(*arguments: object) -> dict:
    done = npuopt("generate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_text_streams_to_stdout_and_figures_to_stderr(artifact) -> None:
    done = npuopt("generate", artifact, "--prompt", "My fellow", "--max-tokens", 4)
    assert done.returncode == 0
    assert done.stdout.endswith("\n")
    assert done.stdout.strip()
    assert "(4 tokens, token limit; first after" in done.stderr


def test_one_json_document(artifact) -> None:
    report = said(artifact, "-p", "My fellow", "-n", 5, "--past-end")
    assert (report["tokens"], report["end"], report["engine"]) == (5, "token limit", "cpu")
    assert report["prompt_tokens"] > 0
    assert report["mean_log_probability"] < 0 < report["mean_entropy"]
    assert report["seconds"] >= report["seconds_to_first_token"] > 0


def test_both_engines_say_the_same(artifact) -> None:
    answers = [said(artifact, "-p", "My fellow", "-n", 6, "--engine", engine)["text"] for engine in ("cpu", "device")]
    assert answers[0] == answers[1]


def test_a_session_goes_on(artifact, tmp_path) -> None:
    whole = said(artifact, "-p", "My fellow", "-n", 8, "--past-end")["text"]
    session = ["--session", tmp_path / "session.npz"]
    first = said(artifact, "-p", "My fellow", "-n", 4, "--past-end", *session)["text"]
    assert first + said(artifact, "-n", 4, "--past-end", *session)["text"] == whole


def test_sampling_and_stops_reach_the_model(artifact) -> None:
    drawn = ["-p", "My fellow", "-n", 8, "--temperature", 9, "--top-k", 50, "--top-p", 0.9, "--repetition-penalty", 1.5]
    text = said(artifact, *drawn, "--seed", 1)["text"]
    assert text != said(artifact, *drawn, "--seed", 2)["text"]
    stopped = said(artifact, *drawn, "--seed", 1, "--stop", text[3:5])
    assert (stopped["end"], stopped["text"]) == ("stop sequence", text[: text.index(text[3:5])])


def test_a_failing_part_stops_or_falls_to_the_cpu(tmp_path, monkeypatch) -> None:
    class Failing(OrtDelegate):
        def open(self, region):
            raise VendorToolError("the simulator crashed")

    artifact = write_artifact(tmp_path / "artifact")
    monkeypatch.setattr("npuopt.runtime.steps.find_delegate", lambda _: Failing())
    arguments = ["generate", artifact, "-p", "My fellow", "-n", 3, "--engine", "device"]
    assert "the simulator crashed" in complaint(npuopt(*arguments), 7)
    done = npuopt(*arguments, "--on-failure", "cpu")
    assert done.returncode == 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert warnings == ["warning: all failed on ort and runs on the CPU: the simulator crashed"] * 2  # one a profile


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--prompt", "word " * 40], 3, "the context has room for 24"),
        ([], 3, "the prompt is empty"),
        (["-p", "x", "--temperature", "-1"], 2, "temperature"),
        (["-p", "x", "--tokenizer", "nowhere.json"], 3, "no such tokenizer file"),
        (["-p", "x", "--max-tokens", "0"], 2, "--max-tokens"),
    ],
)
def test_what_is_asked_wrongly(artifact, arguments, code, words) -> None:
    assert words in complaint(npuopt("generate", artifact, *arguments), code)


def test_no_language_model(tmp_path) -> None:
    assert "is no npuopt artifact" in complaint(npuopt("generate", tmp_path, "-p", "x"), 3)


INTERRUPTED = """
import os, signal, sys
from npuopt.cli import main
from npuopt.runtime.generation.engines import CpuEngine

run, left = CpuEngine.run, int(sys.argv[1])
def interrupted(self, profile, feeds, *outputs):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGINT)
    return run(self, profile, feeds, *outputs)
CpuEngine.run = interrupted
sys.argv = ["npuopt", *sys.argv[2:]]
main()
"""


@pytest.mark.parametrize("runs", [2, 5, 8])
def test_ctrl_c_in_mid_stream_keeps_what_was_said(artifact, tmp_path, runs) -> None:
    session = tmp_path / "session.npz"
    arguments = ["generate", artifact, "-p", "My fellow", "--past-end", "--session", session, "--json"]
    whole = said(*arguments[1:5], "-n", 20)["text"]
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(runs), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    report = json.loads(stdout)
    assert report["end"] == "interrupted"
    assert report["text"]
    assert whole.startswith(report["text"])
    assert (
        whole
        == report["text"] + said(artifact, "--past-end", "-n", 20 - report["tokens"], "--session", session)["text"]
    )
