"""What the README tells a user to write works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import onnx

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    assert len(found) == 1
    return found[0]


def npuopt(*arguments: object) -> str:
    command = [sys.executable, "-m", "npuopt", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pass_of_the_tutorial_runs(tmp_path) -> None:
    (tmp_path / "my_pass.py").write_text(block("python", "class FuseReluIntoClip"))
    text = """<ir_version: 10, opset_import: ["" : 20]>
    g (float[4] x) => (float[4] y) <float low = {0}> { r = Relu(x) y = Clip(r, low) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    options = ("--pass-file", tmp_path / "my_pass.py", "--pass", "fuse-relu-into-clip", "--verify", "each")
    npuopt("optimize", tmp_path / "m.onnx", "-o", tmp_path / "o.onnx", *options)
    assert "Clip" in {node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node}


def test_the_passs_test_of_the_tutorial_passes(tmp_path) -> None:
    (tmp_path / "my_pass.py").write_text(block("python", "class FuseReluIntoClip"))
    imports = "from my_pass import FuseReluIntoClip\nfrom support.rewrites import assert_leaves, assert_rewrites\n"
    (tmp_path / "test_my_pass.py").write_text(imports + block("python", "def test_relu_disappears"))
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    paths = ["-o", f"pythonpath={tmp_path} {ROOT / 'tests'}", str(tmp_path)]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_the_target_of_the_tutorial_lints_and_answers(tmp_path) -> None:
    (tmp_path / "npu1.yaml").write_text(block("yaml", "acme/npu1"))
    npuopt("targets", "lint", tmp_path / "npu1.yaml")
    model = ROOT / "examples" / "fashion_mnist" / "model.onnx"
    out = npuopt("check", model, "--target", tmp_path / "npu1.yaml", "--dim", "batch=1", "--precision", "a8w8")
    assert "Gemm" in out


def test_every_file_the_readme_links_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links)
