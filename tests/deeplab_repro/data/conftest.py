"""Small image folders with list files and nets that read them."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from prototxt_import import read_net

SIZES = ((40, 50), (33, 64), (61, 45), (20, 70), (52, 37))


@pytest.fixture
def pictures(tmp_path):
    """Five images imK.png with labels labK.png of different sizes, list.txt, and net(transform, ...) -> spec."""
    random = np.random.default_rng(3)
    images, labels = [], []
    for i, size in enumerate(SIZES):
        images.append(random.integers(0, 256, (*size, 3), np.uint8))
        labels.append(random.integers(0, 21, size, np.uint8))
        cv2.imwrite(str(tmp_path / f"im{i}.png"), images[-1])
        cv2.imwrite(str(tmp_path / f"lab{i}.png"), labels[-1])
    (tmp_path / "list.txt").write_text("".join(f"im{i}.png lab{i}.png\n" for i in range(len(SIZES))))

    def net(transform="", data="", phase="TRAIN", kind="ImageSegData", v1=False):
        head = (
            'layers { type: IMAGE_SEG_DATA top: "data" top: "label"' if v1 else f'layer {{ type: "{kind}" top: "data"'
        )
        tops = 'top: "size"' if v1 else 'top: "label"'
        (tmp_path / "net.prototxt").write_text(
            f'name: "n"\n{head} {tops} name: "d"\n transform_param {{ {transform} }}\n'
            f' image_data_param {{ source: "list.txt" {data} }} }}\n'
        )
        return read_net(tmp_path / "net.prototxt", phase=phase)

    return SimpleNamespace(folder=tmp_path, images=images, labels=labels, net=net)
