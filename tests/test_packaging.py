"""The wheel and the sdist, built and opened; the command line's cold start."""

import resource
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    source = tmp_path_factory.mktemp("source") / "npuopt"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "-mo", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    for name in filter(None, changed):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(source)], check=True, capture_output=True
    )
    return folder


@pytest.mark.slow
def test_wheel_holds_passes_and_targets_inside_npuopt(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"npuopt"}
    assert "npuopt/targets/qualcomm/sm8750.yaml" in names
    assert "npuopt/passes/clean/fold_constants.py" in names
    assert "npuopt/py.typed" in names
    assert "npuopt/toolchain/definitions/vela.toml" in names
    assert "npuopt/toolchain/locks/vela.txt" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_sdist_builds_what_the_checkout_builds(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert "npuopt/targets/qualcomm/sm8750.yaml" in names
    assert "npuopt/passes/clean/fold_constants.py" in names


def test_help_starts_within_300_ms_of_cpu() -> None:
    command = [sys.executable, "-m", "npuopt", "--help"]
    subprocess.run(command, check=True, capture_output=True)  # writes the bytecode that an installed package has
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.3


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; import npuopt.cli.app;"
        "heavy = {'onnx', 'onnx_ir', 'onnxruntime', 'tvm', 'numpy', 'networkx', 'pydantic', 'onnx_graphsurgeon'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
