"""One training example as people see it."""

from deeplab_repro.train.watch.curve import Curve
from deeplab_repro.train.watch.watchers import Watcher


def test_pictures_change_no_bit_of_the_training(tiny, same, tmp_path):
    tiny.with_batch_norm()
    tiny.train("plain")
    tiny.train("watched", watchers=[Curve(tmp_path / "r.html")])
    assert "data:image/png" in (tmp_path / "r.html").read_text()
    assert tiny.weights("plain")["norm"][2] != 0
    same(tiny.weights("plain"), tiny.weights("watched"))


def test_colours_of_labels_and_prediction_have_a_legend(tiny, tmp_path):
    tiny.write()
    shown = []

    class Looking(Watcher):
        wants_pictures = True

        def pictured(self, updates, pictures):
            shown.append(pictures)

    tiny.train("looked", watchers=[Looking()])
    first = shown[0]
    assert first["image"].shape[:2] == (9, 8)
    for caption in ("labels", "prediction"):
        assert first[caption].shape[0] > 20
        assert first[caption].shape[1] >= 160
