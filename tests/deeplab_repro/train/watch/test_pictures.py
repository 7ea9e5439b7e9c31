"""One training example as people see it."""

from deeplab_repro.train.watch.curve import Curve


def test_pictures_change_no_bit_of_the_training(tiny, same, tmp_path):
    tiny.with_batch_norm()
    tiny.train("plain")
    tiny.train("watched", watchers=[Curve(tmp_path / "r.html")])
    assert "data:image/png" in (tmp_path / "r.html").read_text()
    assert tiny.weights("plain")["norm"][2] != 0
    same(tiny.weights("plain"), tiny.weights("watched"))
