"""Every way a user's run can fail: one sentence, the exit code of its kind, and nothing half-written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx.external_data_helper
import onnx.numpy_helper
import pytest

from npuopt.delegates import registry
from support.command import complaint, npuopt, npuopt_process
from support.paths import EXAMPLES
from support.toy_road import HonestDelegate, ToyDelegate, toy_files

FASHION = EXAMPLES / "fashion_mnist" / "model.onnx"


@pytest.fixture
def out(tmp_path):
    """A folder for outputs, which must be left as it was."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


@pytest.fixture
def external(tmp_path):
    """A model whose one weight lies in weights.bin; `change` edits the tensor's external-data entries."""

    def make(**change: str) -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        weight = np.arange(12, dtype=np.float32).reshape(4, 3)
        text = '<ir_version: 10, opset_import: ["" : 24]> g (float[N,4] x) => (float[N,3] y) {y = MatMul(x, w)}'
        model = onnx.parser.parse_model(text)
        tensor = onnx.numpy_helper.from_array(weight, "w")
        entries = {"location": "weights.bin", "offset": "0", "length": str(weight.nbytes), **change}
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        model.graph.initializer.append(tensor)
        (folder / "weights.bin").write_bytes(weight.tobytes())
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        return folder / "model.onnx"

    return make


def optimize(model: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return npuopt("optimize", model, "-o", out / "o.onnx")


def test_external_data_that_is_there_is_read(external, out) -> None:
    assert optimize(external(), out).returncode == 0
    assert (out / "o.onnx").is_file()


def test_external_data_that_is_missing(external, out) -> None:
    model = external()
    (model.parent / "weights.bin").unlink()
    sentence = complaint(optimize(model, out), 3)
    assert "tensor 'w'" in sentence
    assert "'weights.bin' is missing" in sentence
    assert not list(out.iterdir())


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "ABSOLUTE", "link.bin", "sub/link.bin"])
def test_external_data_outside_the_models_folder_is_refused(external, out, tmp_path, location) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(48))
    model = external(location=str(secret) if location == "ABSOLUTE" else location)
    (model.parent / "sub").mkdir()
    (model.parent / "link.bin").symlink_to(secret)
    (model.parent / "sub" / "link.bin").symlink_to("../../secret.bin")
    assert "points outside the model's folder" in complaint(optimize(model, out), 3)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": "44"}, "44 bytes of data for FLOAT[4, 3], which takes 48"),
        ({"offset": "8"}, "from byte 8 to byte 56"),
        ({"offset": "-8"}, "'-8' of its external data is not a number of bytes"),
        ({"length": "9" * 30}, "is not a number of bytes"),
        ({"location": ""}, "names no file"),
        ({"location": "."}, "is missing"),
    ],
)
def test_external_data_that_does_not_fit(external, out, change, words) -> None:
    assert words in complaint(optimize(external(**change), out), 3)
    assert not list(out.iterdir())


def test_weights_of_the_wrong_size_inside_the_file(tmp_path, out) -> None:
    model = onnx.load(FASHION)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    sentence = complaint(optimize(tmp_path / "m.onnx", out), 3)
    assert f"tensor {model.graph.initializer[0].name!r}" in sentence
    assert "bytes of data for" in sentence


@pytest.mark.parametrize("kept", [0, 1, 7, 100, 5_000, 100_000, -1])
def test_a_file_cut_short_anywhere(tmp_path, out, kept) -> None:
    (tmp_path / "m.onnx").write_bytes(FASHION.read_bytes()[:kept])
    assert str(tmp_path / "m.onnx") in complaint(optimize(tmp_path / "m.onnx", out), 3)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    "content", [b"PK\3\4" + bytes(100), b"\x89HDF\r\n" + bytes(50), bytes(1000), b"{}", b"\xff" * 99]
)
def test_a_file_of_another_kind(tmp_path, out, content) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    assert "not an ONNX file" in complaint(optimize(tmp_path / "m.onnx", out), 3)


def test_a_folder_instead_of_a_model(tmp_path, out) -> None:
    complaint(optimize(tmp_path, out), 3)


def test_an_unknown_op_names_domain_op_and_node(tmp_path, out) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "acme" : 1]>
    g (float[2] x) => (float[2] y) { a = Relu(x) [spell] b = acme.Magic(a) y = acme.Wand(b) }"""
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    sentence = complaint(optimize(tmp_path / "m.onnx", out), 3)
    assert "node spell: nobody knows op Magic of domain 'acme' (and 1 more)" in sentence
    assert not list(out.iterdir())


def test_an_unknown_op_may_be_lowered_by_a_pass_of_the_users_own(tmp_path, out) -> None:
    text = """<ir_version: 10, opset_import: ["" : 20, "acme" : 1]>
    g (float[2] x) => (float[2] y) { y = acme.Magic(x) }"""
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        from dataclasses import dataclass
        from npuopt.graph import Editor, nodes
        from npuopt.pipeline import Entry, Pass, Report

        @dataclass(frozen=True)
        class LowerMagic(Pass):
            "acme.Magic becomes Neg."
            name = "lower-magic"

            def __call__(self, model, target=None):
                report, edit = Report(self.name), Editor(model)
                for node in nodes(model):
                    if node.domain == "acme":
                        edit.replace_node(node, edit.emit("Neg", node.inputs, before=node))
                        report.changed.append(Entry("magic", "Magic", "became Neg"))
                return report
        """)
    )
    done = npuopt("optimize", tmp_path / "m.onnx", "-o", out / "o.onnx", "--pass-file", tmp_path / "mine.py")
    assert done.returncode == 0, done.stderr
    assert [node.op_type for node in onnx.load(out / "o.onnx").graph.node] == ["Neg"]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Compile a small model for a chip on paper; returns a function that takes more arguments."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(registry.ROADS, "qnn", f"{ToyDelegate.__module__}:ToyDelegate")
    chip, model, data = toy_files(tmp_path / "inputs")

    def compile_toy(*more: object, output: Path, quantized: bool = False) -> subprocess.CompletedProcess[str]:
        given = ("--calibration", data, "--precision", "a8w8") if quantized else ("--precision", "fp16")
        return npuopt("compile", model, "-t", chip, "--dim", "batch=1", "-o", output, *given, *more)

    return compile_toy


def test_the_toy_road_works(toy, out) -> None:
    done = toy(output=out / "artifact", quantized=True)
    assert done.returncode == 0, done.stderr
    assert "on the device (100.0% of nodes" in done.stdout
    assert [path.name for path in out.iterdir()] == ["artifact"]


class TestOutputsThatAgreeBadly:
    @pytest.fixture(autouse=True)
    def simulator(self, monkeypatch):
        """Lets the compiled parts answer the wrong way round."""
        monkeypatch.setattr("npuopt.api.run_steps", lambda *_: [{"y": np.array([[0.0, 9.0, 0.0]], np.float32)}])

    def test_are_warned_of(self, toy, out) -> None:
        done = toy(output=out / "artifact", quantized=True)
        assert done.returncode == 0
        assert "\nwarning: toy/chip: y, compiled against model.onnx: cosine 0" in done.stderr

    def test_fail_where_a_cosine_is_asked_for(self, toy, out) -> None:
        done = toy("--min-cosine", "0.98", output=out / "artifact", quantized=True)
        assert "y, compiled against model.onnx: cosine 0" in complaint(done, 5)
        assert "below the 0.98 asked for" in complaint(done, 5)
        assert not list(out.iterdir())

    def test_are_not_looked_for_without_a_comparison(self, toy, out) -> None:
        done = toy("--min-cosine", "0.98", "--verify", "off", output=out / "artifact", quantized=True)
        assert "--min-cosine needs a comparison" in complaint(done, 2)


def test_outputs_that_agree_are_not_warned_of(toy, out) -> None:
    done = toy("--min-cosine", "0.98", output=out / "artifact", quantized=True)
    assert done.returncode == 0
    assert "cosine" not in done.stderr


def test_a_missing_extra_says_which_command_installs_it(tmp_path, out, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)  # what `import` and find_spec see when it is not there
    chip, model, _ = toy_files(tmp_path / "inputs")
    done = npuopt("compile", model, "-t", chip, "--dim", "batch=1", "-o", out / "artifact")
    sentence = complaint(done, 6)
    assert "onnxruntime_qnn is missing" in sentence
    assert 'pip install "npuopt[qnn]"' in sentence
    assert not list(out.iterdir())


ENDINGS = {
    "crashes": (
        "import os, signal\nprint('last words', flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)",
        "crashed (Segm",
    ),
    "hangs": ("import time\nprint('last words', flush=True)\ntime.sleep(60)", "did not end in time and was stopped"),
    "refuses": (
        "import json, sys\nprint('last words')\njson.dump({'refused': 'Too positive'}, open(sys.argv[2], 'w'))",
        "refused it: Too positive",
    ),
    "says nothing": ("print('last words')", "ended without an answer (last words)"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_vendor_tool_that(ending, tmp_path, out, monkeypatch) -> None:
    source, words = ENDINGS[ending]
    (tmp_path / "worker.py").write_text(source)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("npuopt.delegates.qnn.delegate.WORKER", tmp_path / "worker.py")
    monkeypatch.setattr("npuopt.delegates.qnn.delegate.ensure_available", lambda: None)
    chip, model, _ = toy_files(tmp_path / "inputs")
    (out / "artifact").mkdir()
    (out / "artifact" / "manifest.json").write_text("an earlier artifact")
    done = npuopt(
        *("compile", model, "-t", chip, "--dim", "batch=1", "--precision", "fp16", "-o", out / "artifact"),
        *("--time-limit", "1.5", "--verify", "off"),
    )
    sentence = complaint(done, 7)
    assert words in sentence
    log = Path(sentence.rpartition("its log: ")[2])
    assert log.is_relative_to(tmp_path / "cache")
    assert "last words" in log.read_text()
    assert [path.name for path in out.iterdir()] == ["artifact"]
    assert (out / "artifact" / "manifest.json").read_text() == "an earlier artifact"


def test_a_vendor_tool_that_leaves_nodes_to_the_host(toy, out, monkeypatch) -> None:
    monkeypatch.setitem(registry.ROADS, "qnn", f"{HonestDelegate.__module__}:HonestDelegate")
    sentence = complaint(toy(output=out / "artifact"), 7)
    assert "the compiler left 2 node(s) of" in sentence
    assert "npuopt targets probe" in sentence
    assert not list(out.iterdir())


@contextmanager
def largest_file(size: int):
    """Let no file grow beyond `size` bytes: to a program the same as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_while_a_model_is_written(out) -> None:
    with largest_file(10_000):
        done = npuopt("optimize", FASHION, "-o", out / "o.onnx")
    sentence = complaint(done, 1)
    assert f"{out / 'o.onnx'}: cannot be written" in sentence
    assert "free some space" in sentence
    assert not list(out.iterdir())


@pytest.mark.parametrize("dump", [(), ("--dump",)])
@pytest.mark.parametrize("size", [100, 400, 600, 1_000, 1_500, 3_000])
def test_a_full_disk_while_an_artifact_is_written(toy, out, size, dump) -> None:
    """The sizes stop it at different files: regions, the model, the target, the manifest."""
    with largest_file(size):
        done = toy(*dump, output=out / "artifact")
    sentence = complaint(done, 1)
    assert "cannot be written" in sentence
    assert str(out / "artifact") in sentence
    assert not list(out.iterdir())


def test_a_full_disk_while_results_are_written(toy, tmp_path, out) -> None:
    assert toy(output=tmp_path / "artifact").returncode == 0
    np.savez(tmp_path / "x.npz", x=np.zeros((500, 1, 4), np.float32))
    with largest_file(2_000):
        done = npuopt("run", tmp_path / "artifact", "--inputs", tmp_path / "x.npz", "-o", out / "y.npz")
    assert f"{out / 'y.npz'}: cannot be written" in complaint(done, 1)
    assert not list(out.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_folder_that_may_not_be_written(out) -> None:
    out.chmod(0o500)
    assert "cannot be written: Permission denied" in complaint(optimize(FASHION, out), 2)


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_an_output_in_a_folder_that_is_none(out, parent) -> None:
    (out / "file").write_text("")
    complaint(npuopt("optimize", FASHION, "-o", out / parent / "o.onnx"), 2)


STAGES = (
    "loading", "cleaning", "freezing", "fusing", "fitting", "calibrating", "inserting", "compiling",
    "verifying: the source", "verifying: the compiled",
)  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_at(stage, toy, out, monkeypatch) -> None:
    @contextmanager
    def impatient():
        def say(text: str) -> None:
            if text.startswith(stage):
                raise KeyboardInterrupt

        yield say

    monkeypatch.setattr("npuopt.cli.compile.progress", impatient)
    done = toy(output=out / "artifact", quantized=True)
    assert "interrupted; nothing was written" in complaint(done, 130)
    assert not list(out.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_vendors_tool_too(tmp_path, out, number, code) -> None:
    """A process of its own, whose compiler hangs when the signal comes."""
    chip, model, _ = toy_files(tmp_path / "inputs")
    pid_file = tmp_path / "pid"
    (tmp_path / "worker.py").write_text(
        f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    )
    program = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from npuopt.delegates.qnn import delegate
        delegate.WORKER, delegate.ensure_available = Path({str(tmp_path / "worker.py")!r}), lambda: None
        from npuopt.cli import main
        main()
    """)
    arguments = ["compile", model, "-t", chip, "--dim", "batch=1", "--precision", "fp16", "-o", out / "artifact"]
    command = [sys.executable, "-c", program, *map(str, arguments)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == code, stderr
    assert "; nothing was written" in stderr
    assert not list(out.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_an_extension_module_that_turns_ctrl_c_into_an_error_of_its_own() -> None:
    program = textwrap.dedent("""
        import os, signal
        from npuopt.cli import app

        def run(arguments):
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                raise ImportError("initialization failed") from None

        app._run = run
        app.main()
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "npuopt: interrupted; nothing was written\n")


def test_debug_shows_the_traceback_as_well(tmp_path) -> None:
    done = npuopt("optimize", tmp_path / "no.onnx", "-o", tmp_path / "o.onnx", "--debug")
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("npuopt: ")


def test_an_environment_variable_asks_for_the_traceback_too(tmp_path) -> None:
    done = npuopt_process(
        "optimize", tmp_path / "no.onnx", "-o", tmp_path / "o.onnx", environment={**os.environ, "NPUOPT_DEBUG": "1"}
    )
    assert "Traceback" in done.stderr
