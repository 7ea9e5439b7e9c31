"""A small net of each family of forks, written as its authors write theirs: it loads from its own files, and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deeplab_repro import CaffeNet, CRFParams, DenseCRF, load_caffe
from deeplab_repro.layers.ccnn import ITERATIONS
from prototxt_import import read_net, write_weights

CONV = """
layer { name: "%(name)s" type: "Convolution" bottom: "%(bottom)s" top: "%(name)s"
        convolution_param { num_output: %(out)d kernel_size: 3 pad: %(pad)d %(more)s
  weight_filler { type: "xavier" } } }
"""


def conv(name: str, bottom: str, out: int = 4, pad: int = 1, more: str = "") -> str:
    return CONV % {"name": name, "bottom": bottom, "out": out, "pad": pad, "more": more}


def relu(blob: str) -> str:
    return f'layer {{ name: "{blob}_relu" type: "ReLU" bottom: "{blob}" top: "{blob}" }}\n'


def interp(name: str, bottom: str, fields: str) -> str:
    return f'layer {{ name: "{name}" type: "Interp" bottom: "{bottom}" top: "{name}" interp_param {{ {fields} }} }}\n'


def data(height: int = 17, width: int = 21, batch: int = 1) -> str:
    return f"input: 'data'\ninput_dim: {batch}\ninput_dim: 3\ninput_dim: {height} # any\ninput_dim: {width}\n"


def load(folder: Path, text: str, phase: str = "TEST", dialect: str = "auto", form: str = "bvlc") -> CaffeNet:
    """The net of a text, its weights drawn, written in dialect `form` ("": without messages) and read again."""
    (folder / "net.prototxt").write_text(text)
    spec = read_net(folder / "net.prototxt", phase=phase, dialect=dialect)
    random = np.random.default_rng(3)
    stored = {
        name: [(random.normal(size=shape) / 4).astype(np.float32) for shape in shapes]
        for name, shapes in spec.param_shapes.items()
        if shapes
    }
    for layer in spec.layers:
        if layer.type == "BN" and len(stored[layer.name]) == 4:
            stored[layer.name][3] = np.abs(stored[layer.name][3]) + 0.5  # a variance
    write_weights(stored, spec if form else None, folder / "net.caffemodel", form or "bvlc")
    net = load_caffe(folder / "net.prototxt", folder / "net.caffemodel", phase, dialect=dialect)
    assert not net.spec.missing_weights
    for name, arrays in stored.items():
        for blob, array in zip(net.params[name], arrays, strict=True):
            assert np.array_equal(blob.detach().numpy(), array)
    return net


def draw(net: CaffeNet, **given: torch.Tensor) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) for name, shape in net.inputs.items()} | given


def labels(batch: int, height: int, width: int, classes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randint(0, classes, (batch, 1, height, width), generator=generator).float()


def test_crf_rnn(tmp_path):
    """V1 text in single quotes, comments glued to values, CROP without parameters, one name for several layers."""
    text = f"""{data()}
layers {{ bottom: 'data' top: 'conv1' name: 'conv1' type: CONVOLUTION
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 10 }} }}
layers {{ bottom: 'conv1' top: 'conv1' name: 'relu1' type: RELU }}
layers {{ bottom: 'conv1' top: 'pool1' name: 'pool1' type: POOLING
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layers {{ bottom: 'pool1' top: 'score' name: 'score-fr' type: CONVOLUTION
  convolution_param {{ num_output: 3 kernel_size: 1 }} }}
layers {{ bottom: 'score' top: 'bigscore' name: 'upsample' type: DECONVOLUTION blobs_lr: 0
  convolution_param {{ num_output: 3 kernel_size: 4 stride: 2 bias_term: false }} }}
layers {{ bottom: 'conv1' top: 'score-conv1' name: 'score-conv1' type: CONVOLUTION
  convolution_param {{ num_output: 3 kernel_size: 1 }} }}
layers {{ type: CROP name: 'crop' bottom: 'bigscore' bottom: 'data' top: 'coarse' }}
layers {{ type: CROP name: 'crop' bottom: 'score-conv1' bottom: 'data' top: 'fine' }}
layers {{ type: ELTWISE name: 'fuse' bottom: 'coarse' bottom: 'fine' top: 'sum' eltwise_param {{ operation: SUM }} }}
layers {{ type: SPLIT name: 'splitting' bottom: 'sum' top: 'unary' top: 'Q0' }}
layers {{ name: 'inference1' type: MULTI_STAGE_MEANFIELD bottom: 'unary' bottom: 'Q0' bottom: 'data' top: 'pred'
  blobs_lr: 10000#new parameter
  blobs_lr: 10000 blobs_lr: 1000
  multi_stage_meanfield_param {{ num_iterations: 10 compatibility_mode: POTTS#initialises compatibility
    threshold: 2 theta_alpha: 160 theta_beta: 3 theta_gamma: 3 spatial_filter_weight: 3 bilateral_filter_weight: 5
    forced_spatial_filter_weight: 3 }} }}
"""
    net = load(tmp_path, text, form="crfrnn")
    assert net.spec.dialect == "crfrnn"
    spec_of = {layer.name: layer for layer in net.spec.layers}
    assert spec_of["crop"].options.offset == (10, 10)
    assert spec_of["crop#2"].options.offset == (9, 9)
    assert [param.lr_mult for param in spec_of["inference1"].params] == [10000, 10000, 1000]
    blobs = net(**draw(net), blobs="all")
    assert torch.equal(blobs["fine"], blobs["score-conv1"][..., 9:26, 9:30])
    assert blobs["pred"].shape == (1, 3, 17, 21)
    blobs["pred"].square().sum().backward()
    assert all(blob.grad.any() for blob in net.params["inference1"])


def test_crf_rnn_of_the_newer_branch(tmp_path):
    text = f"""{data()}
{conv("score", "data", 3)}
layer {{ name: "inference1" type: "MultiStageMeanfield" bottom: "score" bottom: "score" bottom: "data" top: "pred"
  param {{ lr_mult: 10000 }} param {{ lr_mult: 10000 }} param {{ lr_mult: 1000 }}
  multi_stage_meanfield_param {{ num_iterations: 5 compatibility_mode: POTTS threshold: 2 theta_alpha: 160 theta_beta: 3
    theta_gamma: 3 spatial_filter_weights_str: "3 3 3" bilateral_filter_weights_str: "5 5 5" force_cpu: true }} }}
"""
    net = load(tmp_path, text, form="crfrnn")
    assert net(**draw(net))["pred"].shape == (1, 3, 17, 21)


FCN = f"""
layer {{ name: "data" type: "Python" top: "data" top: "label" python_param {{ module: "voc_layers"
  layer: "SBDDSegDataLayer"
  param_str: "{{'sbdd_dir': '../data/sbdd', 'seed': 1337, 'mean': (104.00699, 116.66877, 122.67892)}}" }} }}
{conv("conv1", "data", 4, 10)}{relu("conv1")}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
{conv("fc6", "pool1", 6)}
layer {{ name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" dropout_param {{ dropout_ratio: 0.5 }} }}
layer {{ name: "score_fr" type: "Convolution" bottom: "fc6" top: "score_fr" param {{ lr_mult: 1 decay_mult: 1 }}
  param {{ lr_mult: 2 decay_mult: 0 }} convolution_param {{ num_output: 5 pad: 0 kernel_size: 1 }} }}
layer {{ name: "upscore" type: "Deconvolution" bottom: "score_fr" top: "upscore" param {{ lr_mult: 0 }}
  convolution_param {{ num_output: 5 bias_term: false kernel_size: 4 stride: 2 }} }}
layer {{ name: "score" type: "Crop" bottom: "upscore" bottom: "data" top: "score" crop_param {{ axis: 2 offset: 10 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param {{ ignore_label: 255 normalize: false }} }}
"""


def test_fcn(tmp_path):
    """Python data layers without bottoms are sources, whose shape the data decide; the loss is a sum over pixels."""
    net = load(tmp_path, FCN, "TRAIN")
    x, label = torch.randn(1, 3, 17, 21), labels(1, 17, 21, 5)
    blobs = net(data=x, label=label, blobs="all", masks={"drop6": torch.ones(1, 6, 18, 20)})
    score = blobs["score"]
    assert torch.equal(score, blobs["upscore"][..., 10:27, 10:31])
    whole = torch.nn.functional.cross_entropy(score, label[:, 0].long(), reduction="sum")
    torch.testing.assert_close(blobs.loss, whole)
    blobs.loss.backward()
    assert net.params["conv1"][0].grad.any()
    assert net.params["upscore"][0].grad is None


def test_hed(tmp_path):
    """Side outputs, each cropped to the image by the layers before it, each with the balanced loss."""
    text = f"""{data()}input: 'label' input_dim: 1 input_dim: 1 input_dim: 17 input_dim: 21
{conv("conv1", "data", 4, 9)}{relu("conv1")}
layer {{ name: 'pool1' type: "Pooling" bottom: 'conv1' top: 'pool1'
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
{conv("conv2", "pool1")}{relu("conv2")}
layer {{ name: 'score-dsn1' type: "Convolution" bottom: 'conv1' top: 'score-dsn1-up'
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ type: "Crop" name: 'crop' bottom: 'score-dsn1-up' bottom: 'data' top: 'upscore-dsn1' }}
layer {{ type: "SigmoidCrossEntropyLoss" bottom: "upscore-dsn1" bottom: "label" top: "dsn1_loss" loss_weight: 1 }}
layer {{ name: 'score-dsn2' type: "Convolution" bottom: 'conv2' top: 'score-dsn2'
  convolution_param {{ num_output: 1 kernel_size: 1 }} }}
layer {{ type: "Deconvolution" name: 'upsample_2' bottom: 'score-dsn2' top: 'score-dsn2-up'
  param {{ lr_mult: 0 decay_mult: 1 }}
  convolution_param {{ kernel_size: 4 stride: 2 num_output: 1 bias_term: false }} }}
layer {{ type: "Crop" name: 'crop' bottom: 'score-dsn2-up' bottom: 'data' top: 'upscore-dsn2' }}
layer {{ type: "SigmoidCrossEntropyLoss" bottom: "upscore-dsn2" bottom: "label" top: "dsn2_loss" loss_weight: 1 }}
layer {{ name: 'concat' bottom: 'upscore-dsn1' bottom: 'upscore-dsn2' top: 'concat-upscore' type: "Concat"
  concat_param {{ concat_dim: 1 }} }}
layer {{ name: 'new-score-weighting' type: "Convolution" bottom: 'concat-upscore' top: 'upscore-fuse'
  convolution_param {{ num_output: 1 kernel_size: 1 weight_filler {{ type: "constant" value: 0.2 }} }} }}
layer {{ type: "SigmoidCrossEntropyLoss" bottom: "upscore-fuse" bottom: "label" top: "fuse_loss" loss_weight: 1 }}
"""
    net = load(tmp_path, text, "TRAIN", dialect="hed", form="hed")
    target = (labels(1, 17, 21, 9) == 0).float()
    blobs = net(**draw(net, label=target), blobs="all")
    assert torch.equal(blobs["upscore-dsn1"], blobs["score-dsn1-up"][..., 8:25, 8:29])
    edge, x = target == 1, blobs["upscore-fuse"]
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(x, target, reduction="none")
    share = edge.float().mean()
    want = (1 - share) * entropy[edge].sum() + share * entropy[~edge].sum()
    torch.testing.assert_close(blobs["fuse_loss"], want)
    torch.testing.assert_close(blobs.loss, blobs["dsn1_loss"] + blobs["dsn2_loss"] + blobs["fuse_loss"])


BN4 = """layer { name: "%(name)s/bn" type: "BN" bottom: "%(name)s" top: "%(name)s/bn" param { lr_mult: 1 decay_mult: 0 }
  param { lr_mult: 1 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 }
  bn_param { slope_filler { type: "constant" value: 1 }
  bias_filler { type: "constant" value: 0 } frozen: true momentum: 0.95 } }
"""


def test_pspnet(tmp_path):
    """BN of four blobs, a pyramid of averages, each brought back to size by Interp."""
    text = data() + conv("conv1", "data", 4, 1, "bias_term: false") + BN4 % {"name": "conv1"} + relu("conv1/bn")
    levels = [("pool1", 17, 21), ("pool2", 9, 11), ("pool3", 6, 7)]
    for name, high, wide in levels:
        text += f"""layer {{ name: "{name}" type: "Pooling" bottom: "conv1/bn" top: "{name}"
  pooling_param {{ pool: AVE kernel_h: {high} kernel_w: {wide} stride_h: {high} stride_w: {wide} }} }}
"""
        text += interp(f"{name}_interp", name, "height: 17 width: 21")
    tops = " ".join(f'bottom: "{name}_interp"' for name, _, _ in levels)
    text += f'layer {{ name: "concat" type: "Concat" bottom: "conv1/bn" {tops} top: "concat" }}' + conv(
        "conv6", "concat", 5
    )
    net = load(tmp_path, text, form="pspnet")
    assert net.spec.dialect == "pspnet"
    blobs = net(**draw(net), blobs="all")
    assert blobs["conv6"].shape == (1, 5, 17, 21)
    torch.testing.assert_close(blobs["pool1"][..., 0, 0], blobs["conv1/bn"].mean((2, 3)))
    torch.testing.assert_close(net.prepare(draw(net))(**draw(net))["conv6"], blobs["conv6"], rtol=1e-4, atol=1e-4)


def test_icnet(tmp_path):
    """The image at half size, a branch at each size, summed after dilation, BN and doubling; one head a branch."""
    text = (
        data(33, 41)
        + interp("data_sub2", "data", "shrink_factor: 2")
        + conv("conv_sub2", "data_sub2", 4, 1, "stride: 2 bias_term: false")
        + BN4 % {"name": "conv_sub2"} + relu("conv_sub2/bn")
        + interp("up", "conv_sub2/bn", "zoom_factor: 2")
        + conv("deep", "up", 4, 2, "dilation: 2 bias_term: false") + BN4 % {"name": "deep"}
        + conv("conv_sub1", "data", 4, 1, "stride: 2 bias_term: false") + BN4 % {"name": "conv_sub1"}
        + 'layer { name: "sum" type: "Eltwise" bottom: "deep/bn" bottom: "conv_sub1/bn" top: "sum" }\n'
        + relu("sum") + conv("conv6_cls", "sum", 5)
        + interp("conv6_interp", "conv6_cls", "zoom_factor: 2")
    )  # fmt: skip
    net = load(tmp_path, text, form="pspnet")
    assert net.spec.dialect == "pspnet"
    blobs = net(**draw(net), blobs="all")
    torch.testing.assert_close(blobs["data_sub2"], draw(net)["data"][..., ::2, ::2])
    assert blobs["conv6_interp"].shape == (1, 5, 33, 41)


def segnet(mode: str, drop: str = "") -> str:
    fillers = 'scale_filler { type: "constant" value: 1 } shift_filler { type: "constant" value: 0.001 }'
    bn = f"bn_param {{ {mode} {fillers} }}"
    return f"""{data()}
{conv("conv1", "data")}
layer {{ bottom: "conv1" top: "conv1" name: "conv1_bn" type: "BN" {bn} }}
{relu("conv1")}
layer {{ name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "pool1_mask"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
{drop}
layer {{ name: "upsample1" type: "Upsample" bottom: "pool1" top: "pool1_D" bottom: "pool1_mask"
  upsample_param {{ scale: 2 upsample_w: 21 upsample_h: 17 }} }}
{conv("conv1_D", "pool1_D", 3)}
"""


def test_segnet(tmp_path):
    """BN of two blobs as trained and as published for tests; values return to where their maximum was."""
    net = load(tmp_path, segnet("bn_mode: INFERENCE"), form="segnet")
    assert net.spec.dialect == "segnet"
    blobs = net(**draw(net), blobs="all")
    assert blobs["conv1_D"].shape == (1, 3, 17, 21)
    returned = blobs["pool1_D"]
    assert torch.equal(returned[returned != 0], blobs["conv1"][returned != 0])
    text = segnet("").replace(data(), data() + "input: 'label' input_dim: 1 input_dim: 1 input_dim: 17 input_dim: 21\n")
    text += 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv1_D" bottom: "label" top: "loss" '
    text += "softmax_param { engine: CAFFE } loss_param { weight_by_label_freqs: true ignore_label: 11 "
    text += "class_weighting: 0.2595 class_weighting: 0.1826 class_weighting: 4.5640 } }"
    trained = load(tmp_path, text, "TRAIN", form="segnet")
    blobs = trained(**draw(trained, label=labels(1, 17, 21, 3)))
    blobs.loss.backward()
    assert trained.params["conv1_bn"][0].grad.any()


def test_bayesian_segnet(tmp_path):
    """Dropout goes on drawing in TEST, so that every pass gives another answer."""
    drop = """layer { name: "encdrop1" type: "Dropout" bottom: "pool1" top: "pool1"
  dropout_param { dropout_ratio: 0.5 sample_weights_test: true } }"""
    net = load(tmp_path, segnet("bn_mode: INFERENCE", drop), form="segnet")
    assert net.spec.phase == "TEST"
    x = draw(net)
    assert not torch.equal(net(**x)["conv1_D"], net(**x)["conv1_D"])
    net = load(tmp_path, segnet("bn_mode: INFERENCE", drop.replace("sample_weights_test: true", "")), form="segnet")
    assert torch.equal(net(**x)["conv1_D"], net(**x)["conv1_D"])


def test_enet(tmp_path):
    """SpatialDropout as a Python layer, a layer named prelu of type ReLU, PReLU beside it, Upsample by mask."""
    text = f"""name: "enet" {data(16, 20)}
{conv("conv1", "data")}
layer {{ name: "bn1" type: "BN" bottom: "conv1" top: "bn1" bn_param {{ bn_mode: INFERENCE
  scale_filler {{ type: "constant" value: 1 }} }} }}
layer {{ name: "prelu1" type: "PReLU" bottom: "bn1" top: "bn1" }}
layer {{ name: "pool1" type: "Pooling" bottom: "bn1" top: "pool1" top: "pool1_mask"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "drop1" type: "Python" bottom: "pool1" top: "drop1" python_param {{ module: "spatial_dropout"
  layer: "SpatialDropoutLayer" param_str: "{{\\'phase\\': \\'TEST\\', \\'p\\': \\'0.1\\'}}" }} }}
layer {{ name: "up1" type: "Upsample" bottom: "drop1" bottom: "pool1_mask" top: "up1" upsample_param {{ scale: 2 }} }}
layer {{ name: "prelu2_0" type: "ReLU" bottom: "up1" top: "prelu2_0" }}
layer {{ name: "deconv6" type: "Deconvolution" bottom: "prelu2_0" top: "deconv6"
  convolution_param {{ num_output: 5 bias_term: true kernel_size: 2 stride: 2 }} }}
"""
    net = load(tmp_path, text, form="enet")
    assert net.spec.dialect == "enet"
    blobs = net(**draw(net), blobs="all")
    torch.testing.assert_close(blobs["drop1"], blobs["pool1"] / 0.9)
    assert torch.equal(blobs["prelu2_0"], blobs["up1"].clamp(min=0))
    assert blobs["deconv6"].shape == (1, 5, 32, 40)


def test_dilation(tmp_path):
    """The front end's dilated convolutions without padding, then a context module that pads for itself."""
    text = data(40, 44) + conv("conv5", "data", 4, 0, "dilation: 2") + relu("conv5")
    text += conv("fc6", "conv5", 4, 0, "dilation: 4") + relu("fc6") + conv("fc-final", "fc6", 5, 0)
    for i, rate in enumerate((1, 1, 2, 4)):
        text += conv(f"ctx{i}", "fc-final" if not i else f"ctx{i - 1}", 5, rate, f"dilation: {rate}") + relu(f"ctx{i}")
    text += 'layer { name: "prob" type: "Softmax" bottom: "ctx3" top: "prob" }'
    net = load(tmp_path, text)
    prob = net(**draw(net))["prob"]
    assert prob.shape == (1, 5, 40 - 4 - 8 - 2, 44 - 4 - 8 - 2)
    torch.testing.assert_close(prob.sum(1), torch.ones_like(prob[:, 0]))


def test_parsenet(tmp_path):
    """Features of the place and of the whole image, each brought to one length, joined."""
    text = f"""{data()}{conv("fc7", "data", 6)}
layer {{ name: "fc7_norm" type: "Normalize" bottom: "fc7" top: "fc7_norm"
  norm_param {{ across_spatial: false scale_filler {{ type: "constant" value: 10 }} channel_shared: false }} }}
layer {{ name: "pool6" type: "Pooling" bottom: "fc7" top: "pool6" pooling_param {{ pool: AVE global_pooling: true }} }}
layer {{ name: "pool6_norm" type: "Normalize" bottom: "pool6" top: "pool6_norm"
  norm_param {{ across_spatial: false scale_filler {{ type: "constant" value: 10 }} channel_shared: false }} }}
layer {{ name: "tile" type: "Deconvolution" bottom: "pool6_norm" top: "tile" param {{ lr_mult: 0 }}
  convolution_param {{ num_output: 6 group: 6 bias_term: false kernel_h: 17 kernel_w: 21 }} }}
layer {{ name: "concat" type: "Concat" bottom: "fc7_norm" bottom: "tile" top: "concat" }}
{conv("score", "concat", 5)}
"""
    net = load(tmp_path, text)
    blobs = net(**draw(net), blobs="all")
    assert blobs["score"].shape == (1, 5, 17, 21)
    scale = net.params["fc7_norm"][0].detach().reshape(1, -1, 1, 1)
    torch.testing.assert_close((blobs["fc7_norm"] / scale).norm(dim=1), torch.ones(1, 17, 21))


def test_attention_to_scale(tmp_path):
    """Two scales of one net with shared weights, weighed against each other at every place by a softmax."""
    shared = 'param { name: "w" } param { name: "b" }'
    text = (
        data(17, 21)
        + 'layer { name: "shrink" type: "Interp" bottom: "data" top: "data_05" interp_param { shrink_factor: 2 } }\n'
    )
    text += conv("fc8", "data", 5).replace("convolution_param", shared + " convolution_param")
    text += conv("fc8_05", "data_05", 5).replace("convolution_param", shared + " convolution_param")
    text += interp("fc8_05_up", "fc8_05", "zoom_factor: 2")
    text += """layer { name: "both" type: "Concat" bottom: "fc8" bottom: "fc8_05_up" top: "both" }
layer { name: "att" type: "Convolution" bottom: "both" top: "att" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "att_softmax" type: "Softmax" bottom: "att" top: "weights" }
layer { name: "slice" type: "Slice" bottom: "weights" top: "w1" top: "w05" slice_param { axis: 1 } }
layer { name: "p1" type: "SpatialProduct" bottom: "fc8" bottom: "w1" top: "p1" }
layer { name: "p05" type: "SpatialProduct" bottom: "fc8_05_up" bottom: "w05" top: "p05" }
layer { name: "sum" type: "Eltwise" bottom: "p1" bottom: "p05" top: "sum" eltwise_param { operation: SUM } }
"""
    (tmp_path / "net.prototxt").write_text(text)
    net = load_caffe(tmp_path / "net.prototxt")
    assert net.spec.dialect == "v2"
    x = draw(net)
    with torch.no_grad():
        net.params["att"][0].normal_()
    blobs = net(**x, blobs="all")
    share = blobs["att"].softmax(1)
    want = blobs["fc8"] * share[:, :1] + blobs["fc8_05_up"] * share[:, 1:]
    torch.testing.assert_close(blobs["sum"], want)
    assert len(list(net.parameters())) == 4
    torch.testing.assert_close(net.prepare(x)(**x)["sum"], want, rtol=1e-4, atol=1e-5)


def test_sec(tmp_path):
    """The deploy file: DeepLab-LargeFOV in V2 text with `hole`, scores at an eighth of the image's size."""
    pool = """layer { name: "%s" type: "Pooling" bottom: "%s" top: "%s"
  pooling_param { pool: %s kernel_size: 3 stride: %d pad: 1 } }
"""
    text = "name: 'SEC' input: 'images' input_dim: 1 input_dim: 3 input_dim: 33 input_dim: 33\n"
    text += conv("conv1_1", "images") + relu("conv1_1") + pool % ("pool1", "conv1_1", "pool1", "MAX", 2)
    text += conv("conv5_1", "pool1", 4, 2, "hole: 2") + relu("conv5_1") + pool % ("pool5", "conv5_1", "pool5", "MAX", 1)
    text += pool % ("pool5a", "pool5", "pool5a", "AVE", 1) + conv("fc6", "pool5a", 6, 12, "hole: 12") + relu("fc6")
    text += 'layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" dropout_param { dropout_ratio: 0.5 } }\n'
    text += conv("fc8-SEC", "fc6", 5)
    net = load(tmp_path, text, form="v2")
    score = net(**draw(net))["fc8-SEC"]
    assert score.shape == (1, 5, 17, 17)
    assert torch.equal(score, net(**draw(net))["fc8-SEC"])


CCNN = """name : "FCN-8s"
{data}
input: 'data-orig'
input_dim: 1
input_dim: 3
input_dim: 17   # Dummy Size
input_dim: 21   # Dummy Size
layer : {{
  name : "conv1" type : "Convolution" bottom : "data" top : "conv1"
  convolution_param : {{ engine: CAFFE num_output : 4 pad : 2 kernel_size : 3 hole: 2 }}
  param : {{ lr_mult : 1.0 decay_mult : 1.0 }}
  param : {{ lr_mult : 2.0 decay_mult : 0.0 }}
}}
layer : {{ name : "pool1" type : "Pooling" bottom : "conv1" top : "fc8"
  pooling_param : {{ pool : MAX kernel_size : 3 stride : 2 pad : 1 }} }}
layer {{
  type: 'Python' name: 'weak_loss' bottom: 'fc8' bottom: 'indicator' top: 'loss'
  python_param {{ module: 'python_layers' layer: 'WeakLoss' }}
  include {{ phase: TRAIN }} loss_weight: 1
}}
layer {{
  name: 'upsample' bottom: 'fc8' top: 'score' type: "Deconvolution"
  convolution_param {{ engine: CAFFE group: 4 num_output: 4 kernel_size: 3 stride: 2
  weight_filler: {{ type: "bilinear_upsampling" }} }}
  param : {{ lr_mult : 0 decay_mult : 0 }} include {{ phase: TEST }}
}}
layer {{ name: 'crop' type: 'Crop' bottom: 'score' bottom: 'data' top: 'score_crop' include {{ phase: TEST }} }}
layer {{ type: 'DenseCRF' name: 'densecrf' bottom: 'score_crop' bottom: 'data-orig' top: 'upscore-crf'
  densecrf_param {{ x_gauss: 19 y_gauss: 19 wt_gauss: 1
   x_bilateral: 61 y_bilateral: 61 r_bilateral: 10 g_bilateral: 10 b_bilateral: 10 wt_bilateral: 2 }}
  include {{ phase: TEST }} }}
"""


def test_ccnn(tmp_path):
    """The deploy file: aligned Crop, then a dense random field of its own, which gives labels."""
    net = load(tmp_path, CCNN.format(data=data()), form="")
    image = (torch.rand(1, 3, 17, 21, generator=torch.Generator().manual_seed(1)) * 255).floor()
    blobs = net(**draw(net, **{"data-orig": image}), blobs="all")
    labels = blobs["upscore-crf"]
    assert labels.shape == (1, 1, 17, 21)
    crf = DenseCRF(CRFParams(ITERATIONS, 1, 19, 2, 61, 10))
    want = crf(image[0].flip(0).permute(1, 2, 0), blobs["score_crop"][0].detach()).argmax(0)
    assert torch.equal(labels[0, 0], want.float())


def test_a_python_layer_with_bottoms_says_how_to_register_it(tmp_path):
    """CCNN's loss, SEC's layers and SegAware's are Python code with bottoms."""
    with pytest.raises(
        ValueError, match=r"'weak_loss' \(Python\): class WeakLoss of module python_layers .*register it"
    ):
        load(tmp_path, CCNN.format(data=data()), "TRAIN")
