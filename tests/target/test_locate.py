from types import SimpleNamespace

import pytest

from npuopt.errors import UsageError
from npuopt.target import list_targets, load_target, locate
from support.descriptors import HEAD, SCHEMES

CHIP = f"{HEAD.replace('toy/chip', 'plugin/chip')}{SCHEMES}ops: {{Relu: {{schemes: [fp16]}}}}\n"


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """A folder of descriptors that an installed plug-in names by entry point."""
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "chip.yaml").write_text(CHIP)
    (tmp_path / "plugin" / "_family.yaml").write_text("source: x\n")
    entry = SimpleNamespace(load=lambda: tmp_path)
    monkeypatch.setattr(locate, "entry_points", lambda group: [entry] if group == "npuopt.targets" else [])
    locate.roots.cache_clear()
    yield tmp_path
    locate.roots.cache_clear()


def test_targets_of_plug_ins_are_found(plug_in):
    assert "plugin/chip" in list_targets()
    assert load_target("plugin/chip").name == "plugin/chip"


def test_a_family_is_no_target(plug_in):
    assert "plugin/_family" not in list_targets()
    with pytest.raises(UsageError, match="plugin/_family is a family, not a chip"):
        load_target("plugin/_family")


@pytest.mark.parametrize("name", ["plugin/../plugin/chip", "plugin//chip", "Plugin/chip", "plugin/chip/"])
def test_an_id_is_plain_words_and_never_a_way_out(plug_in, name):
    with pytest.raises(UsageError):
        load_target(name)


def test_a_near_miss_is_suggested(plug_in):
    with pytest.raises(UsageError, match=r"no target 'plugin/chap' \(did you mean 'plugin/chip'\?\)"):
        load_target("plugin/chap")


def test_a_link_out_of_the_folder_is_no_target(plug_in, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "chip.yaml"
    outside.write_text(CHIP)
    (plug_in / "plugin" / "linked.yaml").symlink_to(outside)
    assert "plugin/linked" not in list_targets()
    with pytest.raises(UsageError):
        load_target("plugin/linked")


def test_installed_files_are_shown_without_this_machines_folders(plug_in):
    assert locate.shown(plug_in / "plugin" / "chip.yaml") == "targets/plugin/chip.yaml"
