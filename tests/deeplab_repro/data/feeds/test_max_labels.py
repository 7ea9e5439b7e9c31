"""ImageData with several labels an image: (N, max_labels, 1, 1), filled up with -1 (golden/caffe/SEMANTICS.md)."""

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.data.feeds.feeds import open_feeds
from prototxt_import import read_net

NET = """layer { name: "d" type: "ImageData" top: "x" top: "y"
  image_data_param { source: "l.txt" batch_size: 2 max_labels: 3 new_height: 4 new_width: 5 } }"""


def _feeds(folder, lines):
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "i.png")
    (folder / "l.txt").write_text(lines)
    (folder / "n.prototxt").write_text(NET)
    return open_feeds(read_net(folder / "n.prototxt", phase="TRAIN"), 0)


def test_labels_are_filled_with_minus_one(tmp_path):
    feeds = _feeds(tmp_path, "i.png 7\ni.png 1 2 3\n")
    label = feeds.next()["y"]
    feeds.close()
    assert label.shape == (2, 3, 1, 1)
    assert label[:, :, 0, 0].tolist() == [[7, -1, -1], [1, 2, 3]]


def test_more_labels_than_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"l\.txt:1: has 4 labels, max_labels is 3"):
        _feeds(tmp_path, "i.png 1 2 3 4\n")
