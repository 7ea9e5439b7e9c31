"""Segmenter: preprocessing, sizes, scales, CRF, and what it refuses."""

import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_repro.crf.model import CRFParams, DenseCRF
from deeplab_repro.files import palette
from deeplab_repro.net.load import load_caffe
from deeplab_repro.predict.segmenter import Segmenter
from prototxt_import import read_net


@pytest.fixture(scope="module")
def segmenter(toy):
    return Segmenter((toy.prototxt, toy.caffemodel), device="cpu")


def _by_hand(toy, image, mean=(104.008, 116.669, 122.675), size=(65, 65)):
    x = np.zeros((1, 3, *size), np.float32)
    x[0, :, : image.shape[0], : image.shape[1]] = (image[..., ::-1] - np.float32(mean)).transpose(2, 0, 1)
    with torch.no_grad():
        scores = load_caffe(toy.prototxt, toy.caffemodel)(data=torch.from_numpy(x))["fc_interp"]
    return scores[0, :, : image.shape[0], : image.shape[1]].numpy()


def test_bgr_mean_padding_and_crop(toy, segmenter, photo):
    segmentation = segmenter(photo.pixels)
    np.testing.assert_array_equal(segmentation.scores, _by_hand(toy, photo.pixels))
    np.testing.assert_array_equal(segmentation.labels, segmentation.scores.argmax(0))
    assert segmentation.labels.dtype == np.uint8
    assert segmentation.probabilities is None
    assert sum(segmentation.shares().values()) == pytest.approx(1)
    np.testing.assert_array_equal(segmentation.overlay(0.5), palette.overlay(photo.pixels, segmentation.labels, 0.5))


@pytest.mark.parametrize(
    ("size", "padded"), [((1, 1), (33, 33)), ((33, 34), (33, 65)), ((321, 320), (321, 321)), ((500, 375), (513, 385))]
)
def test_padding_goes_to_the_next_32k_plus_1(segmenter, size, padded):
    assert segmenter.padded_size(*size) == padded


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 33), (34, 5)])
def test_any_size_is_taken(segmenter, size):
    segmentation = segmenter(np.zeros((*size, 3), np.uint8))
    assert segmentation.labels.shape == size
    assert segmentation.scores.shape == (5, *size)


def test_low_resolution_scores_are_upsampled_with_corners_aligned(toy, photo):
    segmentation = Segmenter((toy.prototxt, toy.caffemodel), score_blob="fc", device="cpu")(photo.pixels)
    np.testing.assert_allclose(segmentation.scores, _by_hand(toy, photo.pixels), atol=1e-4)


def test_another_mean(toy, photo):
    segmentation = Segmenter((toy.prototxt, toy.caffemodel), mean_bgr=(1, 2, 3), device="cpu")(photo.pixels)
    np.testing.assert_array_equal(segmentation.scores, _by_hand(toy, photo.pixels, (1, 2, 3)))


def test_a_scale_beyond_any_memory_is_refused(toy, photo):
    with pytest.raises(ValueError, match=r"pixels at scale 1e\+09"):
        Segmenter((toy.prototxt, toy.caffemodel), scales=(1e9,), device="cpu")(photo.pixels)


@pytest.mark.parametrize("fusion", ["max", "mean"])
def test_scales_are_fused(toy, photo, fusion):
    segmentation = Segmenter((toy.prototxt, toy.caffemodel), scales=(1, 0.5), fusion=fusion, device="cpu")(photo.pixels)
    small = cv2.resize(photo.pixels, (25, 18), interpolation=cv2.INTER_LINEAR)
    half = torch.nn.functional.interpolate(
        torch.from_numpy(_by_hand(toy, small, size=(33, 33)))[None], (37, 50), mode="bilinear", align_corners=True
    )[0].numpy()
    whole = _by_hand(toy, photo.pixels)
    expected = np.maximum(whole, half) if fusion == "max" else (whole + half) / 2
    np.testing.assert_allclose(segmentation.scores, expected, atol=1e-4)


def test_flip_makes_the_scores_of_a_mirrored_image_mirrored(toy, photo):
    flipping = Segmenter((toy.prototxt, toy.caffemodel), flip=True, device="cpu")
    mirrored = flipping(np.ascontiguousarray(photo.pixels[:, ::-1])).scores[..., ::-1]
    np.testing.assert_allclose(flipping(photo.pixels).scores, mirrored, atol=1e-5)


def test_crf_refines_the_scores(toy, segmenter, photo):
    params = CRFParams(iterations=2, bilateral_xy_std=30, bilateral_rgb_std=20)
    segmentation = Segmenter((toy.prototxt, toy.caffemodel), crf=params, device="cpu")(photo.pixels)
    scores = segmenter(photo.pixels).scores
    np.testing.assert_array_equal(segmentation.scores, scores)
    expected = DenseCRF(params)(torch.from_numpy(photo.pixels), torch.from_numpy(scores)).numpy()
    np.testing.assert_array_equal(segmentation.probabilities, expected)
    np.testing.assert_array_equal(segmentation.labels, expected.argmax(0))


def test_a_net_is_taken_as_it_is(toy, segmenter, photo):
    net = load_caffe(toy.prototxt, toy.caffemodel)
    for made in (Segmenter(net, device="cpu"), Segmenter(net=net, device="cpu")):
        np.testing.assert_array_equal(made(photo.pixels).labels, segmenter(photo.pixels).labels)


def test_a_checkpoint_brings_its_mean_and_crf(toy, photo, tmp_path):
    from deeplab_repro.net.checkpoint import save_checkpoint

    record = {"mean_bgr": [1, 2, 3], "crf": {"iterations": 4}, "class_names": list("abcde"), "palette": [[9, 8, 7]]}
    save_checkpoint(load_caffe(toy.prototxt, toy.caffemodel), tmp_path / "a.safetensors", record)
    made = Segmenter(tmp_path / "a.safetensors", device="cpu")
    assert made.crf.iterations == 4
    segmentation = made(photo.pixels)
    np.testing.assert_array_equal(segmentation.scores, _by_hand(toy, photo.pixels, (1, 2, 3)))
    assert segmentation.probabilities is not None
    assert segmentation.class_names == tuple("abcde")
    assert segmentation.palette[0].tolist() == [9, 8, 7]
    assert Segmenter(tmp_path / "a.safetensors", crf=None, device="cpu")(photo.pixels).probabilities is None


DATA_LAYER = """\
layer {{ name: "in" type: "ImageSegData" top: "data" top: "label" top: "dim"
  transform_param {{ crop_size: 33 {mean} }}
  image_data_param {{ source: "none.txt" batch_size: 2 label_type: PIXEL }} }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {{ num_output: 4 kernel_size: 1 }} }}
layer {{ name: "p" type: "Softmax" bottom: "c" top: "p" }}
layer {{ name: "a" type: "ArgMax" bottom: "c" top: "a" argmax_param {{ axis: 1 }} }}
layer {{ name: "s" type: "Silence" bottom: "label" bottom: "dim" }}
"""


def test_the_mean_of_a_data_layer_rides_along(tmp_path, photo):
    from prototxt_import import write_weights

    path = tmp_path / "d.prototxt"
    path.write_text(DATA_LAYER.format(mean="mean_value: 10 mean_value: 20 mean_value: 30"))
    spec = read_net(path)
    write_weights(
        {"c": [np.eye(4, 3, dtype=np.float32)[..., None, None], np.zeros(4, np.float32)]}, spec, tmp_path / "w", "v2"
    )
    made = Segmenter((path, tmp_path / "w"), device="cpu")
    assert made.score_blob == "c"
    segmentation = made(photo.pixels)
    np.testing.assert_array_equal(segmentation.scores[0], photo.pixels[..., 2] - np.float32(10))
    np.testing.assert_array_equal(segmentation.scores[2], photo.pixels[..., 0] - np.float32(30))


def test_what_a_segmenter_refuses(toy, segmenter, tmp_path):
    good = (toy.prototxt, toy.caffemodel)
    for options, word in (
        ({"scales": ()}, "scales"),
        ({"scales": (0,)}, "scales"),
        ({"fusion": "sum"}, "fusion"),
        ({"mean_bgr": (1, 2)}, "mean_bgr"),
        ({"score_blob": "nowhere"}, "nowhere"),
        ({"crf": "yes"}, "crf"),
        ({"device": "tpu9"}, "tpu9"),
    ):
        with pytest.raises(ValueError, match=word):
            Segmenter(good, **{"device": "cpu", **options})
    with pytest.raises(ValueError, match=r"unknown model 'bundeld'.*bundled.*did you mean 'bundled'"):
        Segmenter("bundeld")
    with pytest.raises(ValueError, match="weights are missing"):
        Segmenter(toy.prototxt)
    with pytest.raises(FileNotFoundError, match="gone"):
        Segmenter(tmp_path / "gone.safetensors")
    for image in (
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.full((4, 4, 3), 256, np.float32),
        np.full((4, 4, 3), np.nan),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(ValueError, match="image"):
            segmenter(image)


def test_weights_that_leave_layers_empty_are_refused(toy, tmp_path):
    from prototxt_import import write_weights

    write_weights({"conv1": toy.weights["conv1"]}, toy.spec, tmp_path / "w.caffemodel", "v2")
    with pytest.raises(ValueError, match=r"w\.caffemodel.*fc"):
        Segmenter((toy.prototxt, tmp_path / "w.caffemodel"))


def test_whatever_holds_an_image_is_one(segmenter, photo, tmp_path):
    pixels = photo.pixels
    picture = Image.fromarray(pixels)
    path = tmp_path / "photo.png"
    picture.save(path)
    palette_picture, grey = picture.convert("P"), picture.convert("L")
    rgba = picture.convert("RGBA")
    rgba.putalpha(7)
    fixed = pixels.copy()
    fixed.flags.writeable = False
    tensor = torch.from_numpy(pixels)
    want = segmenter(pixels).labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (path, str(path), picture, rgba, fixed, tensor, tensor.permute(2, 0, 1)):
            np.testing.assert_array_equal(segmenter(image).labels, want)
        mirrored = segmenter(pixels[:, ::-1]).labels
        np.testing.assert_array_equal(mirrored, segmenter(pixels[:, ::-1].copy()).labels)
        for image in (palette_picture, grey):
            same = segmenter(np.array(image.convert("RGB"))).labels
            np.testing.assert_array_equal(segmenter(image).labels, same)
    assert segmenter.to("cpu") is segmenter
    with pytest.raises(ValueError, match=r"of 0\.\.255, this one of -1 to 0"):
        segmenter(torch.rand(4, 5, 3).round() - 1)
    with pytest.raises(ValueError, match=r"0\.\.255, got uint8 \[4, 5, 2\]"):
        segmenter(np.zeros((4, 5, 2), np.uint8))
    with pytest.raises(ValueError, match="of mode I;16"):
        segmenter(Image.fromarray(pixels[..., 0].astype(np.uint16)))


def test_arrays_are_grey_rgba_or_of_floats_too(segmenter, photo):
    pixels = photo.pixels
    want = segmenter(pixels).labels
    grey = segmenter(np.repeat(pixels[..., :1], 3, 2)).labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (pixels[..., 0], pixels[..., :1], torch.from_numpy(pixels[..., 0].copy())[None]):
            np.testing.assert_array_equal(segmenter(image).labels, grey)
        for image in (np.dstack([pixels, pixels[..., :1]]), pixels.astype(np.float32), pixels.astype(np.float64) + 0.3):
            np.testing.assert_array_equal(segmenter(image.clip(0, 255)).labels, want)
    with pytest.warns(UserWarning, match=r"the image is of 0\.\.1 and is taken times 255"):
        np.testing.assert_array_equal(segmenter(torch.from_numpy(pixels).permute(2, 0, 1) / 255).labels, want)


def test_a_picture_is_turned_by_exif_as_its_file_is(segmenter, photo, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(photo.pixels).save(path, exif=exif)
    np.testing.assert_array_equal(segmenter(Image.open(path)).image, segmenter(path).image)
    assert segmenter(path).image.shape[:2] == photo.pixels.shape[1::-1]
