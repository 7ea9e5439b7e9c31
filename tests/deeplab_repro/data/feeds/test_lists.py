"""Lists of images and labels."""

import numpy as np
import pytest

from deeplab_repro.data.feeds.feeds import open_feeds
from prototxt_import import CaffeFormatError, parse_net, read_net

PIXEL = "label_type: PIXEL shuffle: true"


def test_state_of_another_list_is_refused_and_an_older_state_taken(pictures):
    spec = pictures.net("", f"batch_size: 1 {PIXEL}")
    with open_feeds(spec, 11) as feeds:
        state = feeds.state_dict()
    lines = (pictures.folder / "list.txt").read_text().splitlines()
    (pictures.folder / "list.txt").write_text("\n".join(lines[::-1]))
    with open_feeds(spec, 11) as feeds:
        with pytest.raises(ValueError, match=r"^list.txt: is not the list.*5 entries"):
            feeds.load_state_dict(state)
        # As states were written before they told of the list.
        del state["layers"]["d"]["list"]
        feeds.load_state_dict(state)
        state["layers"]["d"]["order"].pop()
        with pytest.raises(ValueError, match="that has 4"):
            feeds.load_state_dict(state)


def test_lists_outside_the_prototxt_s_folder_are_refused(pictures, tmp_path_factory):
    far = tmp_path_factory.mktemp("far") / "list.txt"
    far.write_text("a.png b.png\n")
    spec = parse_net(f'layer {{ name: "d" type: "ImageSegData" top: "data" image_data_param {{ source: "{far}" }} }}')
    with pytest.raises(CaffeFormatError, match="outside"):
        open_feeds(spec)


def test_a_list_in_a_folder_given_for_a_variable_is_read(pictures, tmp_path_factory):
    far, net = tmp_path_factory.mktemp("far"), tmp_path_factory.mktemp("nets") / "net.prototxt"
    (far / "list").mkdir()
    names = [(pictures.folder / f"im{i}.png", pictures.folder / f"lab{i}.png") for i in range(2)]
    (far / "list" / "train.txt").write_text("".join(f"{image} {label}\n" for image, label in names))
    net.write_text(
        'layer { name: "d" type: "ImageSegData" top: "data" top: "label" '
        'image_data_param { source: "${EXP}/list/${SET}.txt" label_type: PIXEL } }'
    )
    with open_feeds(read_net(net, phase="TEST", variables={"EXP": str(far), "SET": "train"})) as feeds:
        np.testing.assert_array_equal(feeds.next()["label"][0, 0], pictures.labels[0])
    with pytest.raises(CaffeFormatError, match="outside"):
        open_feeds(read_net(net, phase="TEST", variables={"EXP": str(far / "list"), "SET": "../../far/list/train"}))
