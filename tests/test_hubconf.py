"""torch.hub's entry points, loaded as torch.hub does from a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch

from deeplab_repro.zoo import models
from tests.paths import GOLDEN, ROOT

FOLDER = GOLDEN / "nets" / "v1_largefov_oldformat"


def load(name, *arguments, **facts):
    return torch.hub.load(str(ROOT), name, *arguments, source="local", **facts)


def test_entry_points_are_the_zoo_and_the_bundled_model():
    spec = spec_from_file_location("hubconf", ROOT / "hubconf.py")
    hubconf = module_from_spec(spec)
    spec.loader.exec_module(hubconf)
    entries = {name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")}
    assert entries == {*models.__all__, "bundled"}


def test_pretrained_is_a_path_or_a_name_of_what_was_fetched(tmp_path, monkeypatch):
    net = load("deeplab_largefov", pretrained=FOLDER / "weights.caffemodel", width=1 / 16)
    assert net.spec.missing_weights == ()
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setenv("DEEPLAB_WEIGHTS", str(tmp_path / "kept"))
    for copy in ("checkpoints/mine.caffemodel", "kept/largefov.caffemodel"):
        (tmp_path / copy).parent.mkdir()
        shutil.copy(FOLDER / "weights.caffemodel", tmp_path / copy)
    for name in ("mine.caffemodel", "largefov"):
        again = load("deeplab_largefov", pretrained=name, width=1 / 16)
        assert torch.equal(again.params["fc6"][0], net.params["fc6"][0])
    with pytest.raises(FileNotFoundError, match="yours: no such file, and no such name in"):
        load("deeplab_largefov", pretrained="yours")
    with pytest.raises(ValueError, match=r"name a \.caffemodel"):
        load("deeplab_largefov", pretrained=True)
    assert load("deeplab_largefov", num_classes=2, width=1 / 16).params["fc8_voc12"][0].shape[0] == 2


def test_bundled_runs():
    with torch.no_grad():
        assert load("bundled")(data=torch.zeros(1, 3, 33, 33))


@pytest.fixture
def clone(tmp_path):
    """A folder as torch.hub fetches it: sources without the compiled extension."""
    shutil.copy(ROOT / "hubconf.py", tmp_path)
    (tmp_path / "deeplab_repro").mkdir()
    (tmp_path / "deeplab_repro" / "__init__.py").write_text("raise AssertionError('the clone was imported')\n")
    return tmp_path


def python(program, *arguments):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths})


def test_a_clone_without_extension_uses_the_installed_package(clone):
    program = "import sys, torch; print(torch.hub.load(sys.argv[1], 'bundled', source='local').spec.name)"
    done = python(program, clone)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_clone_beside_no_package_says_what_to_do(clone):
    done = python(
        "import sys; sys.path[:0] = [sys.argv[1]]; sys.modules['deeplab_repro'] = None; import hubconf", clone
    )
    assert f"pip install --no-build-isolation {clone}" in done.stderr
