"""What links host libraries: a C++ compiler, one for another machine, or the linker in a Python package."""

from __future__ import annotations

import pytest
from delegates.host_cases import model_of, processor, relative_error, sample_for

from npuopt.delegates.contract import Limits
from npuopt.delegates.host import linking
from npuopt.delegates.host.linking import LinkError, find_linker, find_zig, link
from npuopt.delegates.host.tvm_delegate import TvmDelegate, processor_of
from npuopt.errors import ToolchainMissingError
from npuopt.graph import Session

ARM = {"triple": "aarch64-linux-gnu", "cpu": "cortex-a76", "cross_compiler": "aarch64-linux-gnu-g++"}


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(linking, "find_zig", lambda: None)


def linker_for(**facts):
    return find_linker(processor_of(processor(**facts)))


@pytest.mark.usefixtures("nothing_installed")
def test_a_linker_that_is_missing_is_named_with_its_packages():
    with pytest.raises(ToolchainMissingError, match=r"gnu-g\+\+ is not installed.*apt-get install g\+\+-aarch64-linux"):
        linker_for(**ARM)
    with pytest.raises(ToolchainMissingError, match=r"pip install ziglang.*apt-get install g\+\+"):
        linker_for()


@pytest.mark.usefixtures("nothing_installed")
def test_a_foreign_processor_needs_a_linker_of_its_own():
    with pytest.raises(ToolchainMissingError, match="no linker for riscv64-linux-gnu is named"):
        linker_for(triple="riscv64-linux-gnu", cpu="generic-rv64")


def test_a_package_links_where_no_compiler_is_installed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(linking, "find_zig", lambda: "/packages/ziglang/zig")
    assert linker_for() == linker_for(**ARM) == ["/packages/ziglang/zig", "ld.lld", "-shared", "-o"]


@pytest.mark.skipif(find_zig() is None, reason="NOT TESTED: the link extra is not installed; pip install ziglang")
def test_what_the_package_links_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    path = tmp_path / "model.onnx"
    model = model_of("t = Tanh(x) e = Erf(t) y = Softmax(e)", "float[2,5] x", "float[2,5] y")
    path.write_bytes(model.SerializeToString())
    folder = tmp_path / "region"
    folder.mkdir()
    limits = Limits(seconds=120, memory_mib=4096)
    region = TvmDelegate().compile(path, folder, processor(), limits=limits)
    sample = sample_for(model)
    (outputs,) = TvmDelegate().run(region, [sample], processor(), limits=limits)
    expected = Session(path, threads=1).run(sample)
    assert relative_error(outputs["y"], expected["y"]) < 1e-5


def test_a_linker_says_why_it_failed(tmp_path):
    (tmp_path / "broken.o").write_bytes(b"no object")
    with pytest.raises(LinkError, match=r"\S"):
        link([*linker_for()], str(tmp_path / "made.so"), [str(tmp_path / "broken.o")])
