"""Files that come with the package, in a checkout and where it was installed."""

from deeplab_repro.files import shipped as module
from deeplab_repro.files.shipped import shipped
from tests.paths import ROOT


def test_a_checkout_has_them_beside_the_package():
    assert shipped("catalog.toml") == ROOT / "weights" / "catalog.toml"
    assert shipped("published.toml").is_file()


def test_an_installed_package_has_them_inside(monkeypatch, tmp_path):
    package = tmp_path / "site-packages" / "deeplab_repro"
    (package / "weights").mkdir(parents=True)
    monkeypatch.setattr(module, "_PACKAGE", package)
    assert shipped("catalog.toml") == package / "weights" / "catalog.toml"
    (package.parent / "weights").mkdir()
    (package.parent / "weights" / "catalog.toml").touch()
    assert shipped("catalog.toml") == package.parent / "weights" / "catalog.toml"
