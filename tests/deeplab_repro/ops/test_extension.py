"""The compiled extension under the torch it was built for, and under others."""

import sys

import pytest
import torch

from deeplab_repro.ops import _C, extension


def test_another_patch_release_is_taken_and_another_minor_one_refused(monkeypatch):
    extension._load_extension()
    major, minor = torch.__version__.split(".")[:2]
    monkeypatch.setattr(_C, "torch_version", f"{major}.{minor}.99+other")
    extension._load_extension()
    monkeypatch.setattr(_C, "torch_version", f"{major}.{int(minor) + 1}.0")
    with pytest.raises(
        ImportError, match=rf"built for torch {major}\.{int(minor) + 1}\.0, but torch .* build it again"
    ):
        extension._load_extension()


def test_an_extension_that_does_not_load_says_how_to_build_it(monkeypatch):
    import deeplab_repro.ops

    monkeypatch.delattr(deeplab_repro.ops, "_C")
    monkeypatch.setitem(sys.modules, "deeplab_repro.ops._C", None)
    with pytest.raises(ImportError, match=r"does not load under torch .*pip install --no-build-isolation"):
        extension._load_extension()
