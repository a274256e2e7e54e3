"""Containers for Qualcomm's own tools, against a stand-in for the provider: what is proven of what it writes."""

from __future__ import annotations

import pytest

from npuopt.delegates.contract import Limits
from npuopt.delegates.qnn import container
from npuopt.errors import VendorToolError

LIMITS = Limits(seconds=20, memory_mib=1024)
START = "import json, os, sys, time, zipfile; request = json.load(open(sys.argv[1])); folder = request['folder']\n"
ANSWER = "json.dump({'seconds': 0.5}, open(sys.argv[2], 'w'))\n"


def zipped(name: str, *parts: str) -> str:
    writes = "".join(f"z.writestr({part!r}, b'x'); " for part in parts)
    return f"z = zipfile.ZipFile(folder + '/{name}', 'w'); {writes}z.close()\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write containers with a program in the place of the worker."""

    def write(program: str, limits: Limits = LIMITS):
        worker = tmp_path / "worker.py"
        worker.write_text(START + program)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(container, "WORKER", worker)
        (tmp_path / "region").mkdir()
        return container.write_containers(tmp_path / "net.onnx", tmp_path / "region", {}, limits=limits)

    return write


def test_every_graph_has_a_container(written, tmp_path):
    program = zipped("b.dlc", "model", "dlc.metadata2") + zipped("a.dlc", "model", "dlc.metadata2") + ANSWER
    names, figures = written(program)
    assert names == ("net.dlc", "net-2.dlc")
    assert figures["dlc_seconds"] == 0.5
    assert figures["dlc_bytes"] == sum((tmp_path / "region" / name).stat().st_size for name in names)


@pytest.mark.parametrize(
    ("program", "limits", "message"),
    [
        (ANSWER, LIMITS, "wrote no .dlc container"),
        (zipped("a.dlc", "dlc.metadata2") + ANSWER, LIMITS, "the container has no graph, only dlc.metadata2"),
        ("open(folder + '/a.dlc', 'w').write('no zip')\n" + ANSWER, LIMITS, "wrote a damaged container"),
        ("os.abort()", LIMITS, "the QNN provider crashed"),
        ("time.sleep(60)", Limits(seconds=1), "did not end in time"),
    ],
)
def test_what_proves_nothing_is_refused(written, program, limits, message):
    with pytest.raises(VendorToolError, match=message):
        written(program, limits)
