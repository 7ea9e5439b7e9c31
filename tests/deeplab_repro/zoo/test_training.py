"""What trains a zoo net: data layer and solver."""

import pytest

from deeplab_repro import zoo
from deeplab_repro.zoo.training import fed, solver_text
from prototxt_import import read_solver


def test_a_net_gets_the_papers_data_layer_in_front():
    net = zoo.spec("deeplab_largefov", phase="TRAIN", size=(65, 65), batch=3, width=1 / 32)
    trained = fed(net, "list/train.txt", "/data", (0.5, 1.5))
    data = trained.layer("data").options
    assert (data.source, data.root_folder, data.batch_size, data.shuffle) == ("list/train.txt", "/data", 3, True)
    assert (data.transform.crop_size, data.transform.mirror, data.transform.scale_factors) == (65, True, (0.5, 1.5))
    assert trained.layers[1:] == net.layers
    assert not trained.inputs
    assert trained.blobs["label"] == net.inputs["label"]


def test_the_solver_names_its_net_and_leaves_out_what_v1_lacks(tmp_path):
    for name, passes in (("deeplab_largefov", 1), ("deeplab_resnet101", 10)):
        text = solver_text(name, "n.prototxt", "p", max_iter=7)
        (tmp_path / "s.prototxt").write_text(text)
        solver = read_solver(tmp_path / "s.prototxt")
        assert (solver.train_net, solver.snapshot_prefix, solver.max_iter) == ("n.prototxt", "p", 7)
        assert solver.iter_size == passes
        assert ("iter_size" in text) == (passes > 1)


def test_changes_that_no_recipe_has_are_refused():
    with pytest.raises(TypeError, match="colour"):
        solver_text("deeplab", colour=1)
    with pytest.raises(ValueError, match="unknown variant 'deeplap'"):
        solver_text("deeplap")
