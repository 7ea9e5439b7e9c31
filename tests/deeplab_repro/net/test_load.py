"""load_caffe: what it takes beside a prototxt."""

from __future__ import annotations

import pytest

from deeplab_repro import load_caffe


def test_checkpoint_with_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a checkpoint has its own weights"):
        load_caffe(tmp_path / "net.safetensors", tmp_path / "w.caffemodel")
