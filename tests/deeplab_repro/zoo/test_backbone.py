"""DeepLab on a classifier: where it is cut, what its head is, and equal scores at any output stride."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet
from deeplab_repro.export.caffe import net_arrays
from deeplab_repro.zoo.backbone import HEADS, backbone_spec, feature_map, with_mean
from deeplab_repro.zoo.models import fresh_net
from deeplab_repro.zoo.training import MEAN_BGR
from prototxt_import import CaffeFormatError, layer, make_net, parse_net, read_net, write_net, write_weights
from tests.paths import SHARED

CLASSES = 5


def conv(name, bottom, outputs, kernel=3, stride=1, group=1):
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {kernel // 2} group: {group} "
        'weight_filler { type: "msra" } } }'
    )


def clip(blob):
    return (
        f'layer {{ name: "{blob}/relu6" type: "Clip" bottom: "{blob}" top: "{blob}" clip_param {{ min: 0 max: 6 }} }}'
    )


def mobile(side=65, top="pool"):
    """A small net of MobileNet-v2's parts: stride 32 by five strided layers, depthwise ones, Clip, a residual sum."""
    parts = [
        'name: "mobile" layer { name: "image" type: "Input" top: "image" input_param { shape { dim: 1 dim: 3 '
        f"dim: {side} dim: {side} }} }} transform_param {{ mean_value: 128 scale: 0.5 }} }}",
        conv("stem", "image", 8, stride=2),
        clip("stem"),
    ]
    below = "stem"
    for i in range(4):
        parts += [conv(f"b{i}/depthwise", below, 8, stride=2, group=8), clip(f"b{i}/depthwise")]
        parts += [conv(f"b{i}/project", f"b{i}/depthwise", 8, kernel=1), conv(f"b{i}/more", f"b{i}/project", 8)]
        parts.append(
            f'layer {{ name: "b{i}/add" type: "Eltwise" bottom: "b{i}/project" bottom: "b{i}/more" top: "b{i}/add" }}'
        )
        below = f"b{i}/add"
    ends = {
        "pool": f'layer {{ name: "pool" type: "Pooling" bottom: "{below}" top: "pool" '
        'pooling_param { pool: AVE global_pooling: true } } layer { name: "fc" type: "InnerProduct" bottom: "pool" '
        'top: "fc" inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }',
        "scores": f'layer {{ name: "drop" type: "Dropout" bottom: "{below}" top: "{below}" }} '
        + conv("scores", below, 10, kernel=1)
        + ' layer { name: "pool" type: "Pooling" bottom: "scores" top: "pool" pooling_param { pool: AVE '
        "global_pooling: true } }",
        "fc": f'layer {{ name: "fc" type: "InnerProduct" bottom: "{below}" top: "fc" inner_product_param {{ '
        'num_output: 10 weight_filler { type: "xavier" } } }',
    }
    return parse_net("\n".join([*parts, ends[top]]))


def write_classifier(folder):
    """deploy.prototxt and model.caffemodel of the small classifier, in a folder that is made."""
    folder.mkdir()
    net = CaffeNet(mobile(), torch.Generator().manual_seed(1))
    write_net(net.spec, folder / "deploy.prototxt", "bvlc")
    write_weights(net_arrays(net), net.spec, folder / "model.caffemodel", "bvlc")
    return folder


@pytest.fixture
def drawn():
    """The small classifier with weights."""
    net = CaffeNet(mobile(), torch.Generator().manual_seed(1))
    return replace(net.spec, weights={name: [b.detach().numpy() for b in blobs] for name, blobs in net.params.items()})


@pytest.mark.parametrize("top", ["pool", "scores", "fc"])
def test_the_cut_is_before_what_makes_a_vector_or_the_last_layer_with_weights(top):
    spec = mobile(top=top)
    assert feature_map(spec) == "b3/add"
    made = backbone_spec(spec, CLASSES, size=(65, 65), fc_channels=4)
    assert not {"pool", "fc", "scores", "drop"} & {part.name for part in made.layers}


@pytest.mark.parametrize("head", HEADS)
def test_scores_agree_on_the_shared_grid_at_every_output_stride(drawn, head):
    """Chen et al. 2015, section 3.1: the weights learned at one stride run at another."""
    at = {}
    image = torch.rand(1, 3, 65, 97) * 50
    weights = None
    for stride in (32, 16, 8):
        spec = backbone_spec(drawn, CLASSES, head, stride, size=(65, 97), fc_channels=4)
        net = CaffeNet(replace(spec, weights=weights or spec.weights), torch.Generator().manual_seed(3))
        weights = {name: [b.detach().numpy() for b in blobs] for name, blobs in net.params.items() if blobs}
        with torch.no_grad():
            blobs = net(data=image, blobs="all")
        assert blobs["fc8_interp"].shape == (1, CLASSES, 65, 97)
        at[stride] = blobs["fc8_voc12"]
    assert at[16].shape[2:] == (5, 7)
    # At stride 32 the pyramids have rates of half an element, which become whole ones.
    for stride, step in ((16, 2), (32, 4))[: 2 if head == "largefov" else 1]:
        torch.testing.assert_close(at[stride], at[8][..., ::step, ::step], atol=1e-5, rtol=1e-4)


def test_rates_and_multipliers_are_the_papers_at_the_stride():
    spec = backbone_spec(mobile(), CLASSES, "aspp-l", 16, "TRAIN", size=(65, 65), batch=2, fc_channels=4)
    by_name = {part.name: part for part in spec.layers}
    assert [by_name[f"fc6_{i}"].options.dilation for i in (1, 2, 3, 4)] == [(3, 3), (6, 6), (9, 9), (12, 12)]
    assert [(p.lr_mult, p.decay_mult) for p in by_name["stem"].params] == [(1, 1), (2, 0)]
    assert [(p.lr_mult, p.decay_mult) for p in by_name["fc6_1"].params] == [(10, 1), (20, 0)]
    assert spec.blobs["label_shrink"] == (2, 1, 5, 5)
    assert spec.inputs == {"data": (2, 3, 65, 65), "label": (2, 1, 65, 65)}
    assert by_name["stem"].options.weight_filler.type == "msra"


def test_frozen_layers_have_no_gradient_and_those_after_them_do():
    spec = backbone_spec(
        mobile(), CLASSES, phase="TRAIN", size=(65, 65), fc_channels=4, frozen_until="b1", normalised_head=True,
        full_size_loss=True,
    )  # fmt: skip
    net = fresh_net(spec)
    net(data=torch.rand(1, 3, 65, 65), label=torch.zeros(1, 1, 65, 65)).loss.backward()
    learning = {name for name, blobs in net.params.items() if any(blob.grad is not None for blob in blobs)}
    assert {"stem", "b0/depthwise", "b0/more"}.isdisjoint(learning)
    assert {"b1/depthwise", "b3/more", "fc6", "fc6_scale", "fc8_voc12"} <= learning
    with pytest.raises(ValueError, match=r"no layer is called 'b7'"):
        backbone_spec(mobile(), CLASSES, frozen_until="b7")


def test_normalisation_of_a_classifier_stays_frozen():
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 dim: 33 dim: 33 } } }
    layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 4 kernel_size: 3 pad: 1
      stride: 8 bias_term: false } }
    layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" } layer { name: "sc" type: "Scale" bottom: "c" top: "c"
      scale_param { bias_term: true } }
    layer { name: "fc" type: "InnerProduct" bottom: "c" top: "fc" inner_product_param { num_output: 2 } }"""
    spec = backbone_spec(parse_net(text), CLASSES, output_stride=8, phase="TRAIN", size=(33, 33), fc_channels=2)
    by_name = {part.name: part for part in spec.layers}
    assert by_name["bn"].options.use_global_stats
    assert all(param.lr_mult == 0 for name in ("bn", "sc") for param in by_name[name].params)
    assert by_name["c"].params[0].lr_mult == 1


def test_a_map_whose_edges_are_not_the_images_is_trained_at_the_images_size():
    spec = backbone_spec(mobile(), CLASSES, phase="TRAIN", size=(64, 80), fc_channels=2)
    assert "label_shrink" not in spec.blobs
    assert spec.blobs["fc8_interp"] == (1, CLASSES, 64, 80)
    assert backbone_spec(mobile(), CLASSES, size=(64, 80), fc_channels=2).outputs == ("fc8_voc12",)


def test_what_cannot_be_is_refused_with_its_name():
    with pytest.raises(ValueError, match=r"head must be one of largefov.*did you mean 'aspp-l'"):
        backbone_spec(mobile(), CLASSES, "asppl")
    with pytest.raises(ValueError, match=r"no layer makes blob 'b3/ad'; did you mean 'b3/add'"):
        backbone_spec(mobile(), CLASSES, cut="b3/ad")
    with pytest.raises(ValueError, match=r"blob 'stem' has stride 2 x 2; output_stride 16 asks for more"):
        backbone_spec(mobile(), CLASSES, cut="stem")
    window = {"num_output": 1, "kernel": (3, 3)}
    two = [layer("Convolution", "c", "x", "c", **window), layer("Convolution", "d", "c", "d", **window)]
    odd = make_net("n", {"x": (1, 4, 9, 9)}, two)
    with pytest.raises(ValueError, match=r"reads one image .* its inputs are x \[1, 4, 9, 9\]"):
        backbone_spec(odd, CLASSES)
    with pytest.raises(ValueError, match="no layer reads a feature map"):
        feature_map(make_net("n", {"x": (1, 4)}, [layer("ReLU", "r", "x", "y")]))


def test_mean_and_scale_move_into_the_first_convolution(drawn):
    """Inside the image; at its edge zeros stand for another grey than before."""
    spec = backbone_spec(drawn, CLASSES, size=(65, 65), fc_channels=4)
    assert drawn.input_transform.mean_value == (128.0,)
    moved = with_mean(spec, (128, 128, 128), 0.5)
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 65, 65)).astype(np.float32)
    own = (image - 128) * 0.5
    papers = image - np.reshape(MEAN_BGR, (1, 3, 1, 1)).astype(np.float32)
    first, second = (
        CaffeNet(given)(data=torch.from_numpy(x), blobs=["stem"])["stem"].detach()
        for given, x in ((spec, own), (moved, papers))
    )
    torch.testing.assert_close(first[..., 1:-1, 1:-1], second[..., 1:-1, 1:-1], atol=1e-3, rtol=1e-4)
    assert with_mean(spec, MEAN_BGR) is spec
    pooled = make_net("n", {"data": (1, 3, 9, 9)}, [layer("Pooling", "p", "data", "p", kernel=(3, 3))])
    with pytest.raises(CaffeFormatError, match=r"'p' \(Pooling\): reads the image"):
        with_mean(pooled, (1, 2, 3))


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v1_050", "squeezenet_v10"])
def test_real_classifiers_become_deeplab(name):
    folder = SHARED / "backbones" / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    spec = read_net(folder / "deploy.prototxt", folder / "model.caffemodel")
    made = backbone_spec(spec, 7, output_stride=16, size=(129, 129), fc_channels=16)
    assert made.blobs["fc8_voc12"][2:] == ((9, 9) if "mobile" in name else (7, 7))
    assert set(made.weights) == {part.name for part in made.layers if made.param_shapes.get(part.name)} - {
        "fc6", "fc7", "fc8_voc12",
    }  # fmt: skip
