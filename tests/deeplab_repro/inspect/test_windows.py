"""What became of windows, and what outputs see."""

from deeplab_repro.inspect.windows import changed_windows, output_fields
from prototxt_import import layer, make_net


def net(*layers):
    return make_net("n", {"data": (1, 3, 17, 19)}, layers)


def conv(name, bottom, **options):
    return layer("Convolution", name, bottom, name, num_output=2, **{"kernel": (3, 3), **options})


def test_layers_that_came_went_or_changed_are_told_without_what_is_trivial():
    before = net(conv("a", "data"), conv("b", "a", stride=(2, 2)), layer("InnerProduct", "c", "b", "c", num_output=4))
    after = net(conv("a", "data"), conv("b", "a", dilation=(2, 2), pad=(1, 0)), conv("d", "b"))
    assert changed_windows(before, after) == [
        {
            "layer": "b",
            "type": "Convolution",
            "before": "kernel 3x3, stride 2x2",
            "after": "kernel 3x3, pad 1x0, dilation 2x2",
        },
        {"layer": "c", "type": "InnerProduct", "before": "no window", "after": "-"},
        {"layer": "d", "type": "Convolution", "before": "-", "after": "kernel 3x3"},
    ]
    assert changed_windows(before, before) == []


def test_a_layer_of_another_type_names_both():
    before = net(layer("InnerProduct", "fc", "data", "fc", num_output=4))
    (row,) = changed_windows(before, net(conv("fc", "data")))
    assert row["type"] == "InnerProduct -> Convolution"


def test_outputs_have_shape_and_field_or_none_for_the_whole_image():
    pool = layer("Pooling", "g", "a", "g", method="AVE", global_pooling=True)
    outputs = output_fields(net(conv("a", "data"), conv("b", "a"), pool))
    assert outputs == {
        "b": {"shape": (1, 2, 13, 15), "field": (5, 5)},
        "g": {"shape": (1, 2, 1, 1), "field": None},
    }
