"""`deeplab segment`: what it writes, says and refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab_repro.crf.model import CRFParams
from deeplab_repro.files.images import read_image, write_image
from deeplab_repro.predict.pictures import legended_overlay
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.predict.video import open_video, written_video
from tests.deeplab_repro.files.turned_photos import write_both


def _model(toy):
    return ("--model", toy.prototxt, "--weights", toy.caffemodel, "--device", "cpu")


def test_label_map_and_overlay_of_every_image(tmp_path, toy, photo, deeplab):
    (tmp_path / "in").mkdir()
    write_image(photo.pixels[:20], tmp_path / "in" / "photo.ppm")
    write_image(photo.pixels[5:], tmp_path / "in" / "other.png")
    result = deeplab("segment", photo.path, tmp_path / "in", *_model(toy), "-o", tmp_path / "a" / "out")
    assert result.exit_code == 0, result.output
    written = sorted(path.name for path in (tmp_path / "a" / "out").iterdir())
    assert written == [f"{name}{end}.png" for name in ("other", "photo", "photo_ppm") for end in ("", "_overlay")]
    segmentation = Segmenter((toy.prototxt, toy.caffemodel), device="cpu")(photo.pixels)
    picture = Image.open(tmp_path / "a" / "out" / "photo.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), segmentation.labels)
    overlay = read_image(tmp_path / "a" / "out" / "photo_overlay.png")
    np.testing.assert_array_equal(overlay[:37, :50], segmentation.overlay())
    np.testing.assert_array_equal(overlay, legended_overlay(segmentation, 0.5))  # the legend below


def test_crf_scales_flip_and_mean_reach_the_segmenter(tmp_path, toy, photo, deeplab):
    options = ("--crf", "--scales", "1,0.75", "--flip", "--mean", "1,2,3")
    result = deeplab("segment", photo.path, *_model(toy), *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    segmenter = Segmenter(
        (toy.prototxt, toy.caffemodel), scales=(1, 0.75), flip=True, mean_bgr=(1, 2, 3), crf=CRFParams(), device="cpu"
    )
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "out" / "photo.png")), segmenter(photo.pixels).labels
    )


def test_json_tells_sizes_files_and_shares(tmp_path, toy, photo, deeplab):
    result = deeplab("segment", photo.path, *_model(toy), "-o", tmp_path / "out", "--json", "-")
    (row,) = json.loads(result.stdout)["images"]
    assert (row["height"], row["width"]) == (37, 50)
    assert row["labels"] == str(tmp_path / "out" / "photo.png")
    assert sum(row["shares"].values()) == pytest.approx(1, abs=1e-5)


def test_a_converted_net_segments_as_its_files_do(tmp_path, toy, photo, deeplab):
    checkpoint = tmp_path / "toy.safetensors"
    result = deeplab("convert", toy.prototxt, toy.caffemodel, "-o", checkpoint)
    assert result.exit_code == 0, result.output
    for word in ("conv1", "4 x 3 x 3 x 3", "297 parameters", "1 ReLU", "not used"):
        assert word in result.stdout
    assert deeplab("segment", photo.path, *_model(toy), "-o", tmp_path / "a").exit_code == 0
    assert deeplab("segment", photo.path, "--model", checkpoint, "-o", tmp_path / "b").exit_code == 0
    assert (tmp_path / "a" / "photo.png").read_bytes() == (tmp_path / "b" / "photo.png").read_bytes()


def test_a_bad_image_among_good_ones_stops_before_anything_is_written(tmp_path, toy, photo, refused):
    (tmp_path / "x.jpg").write_text("not an image")
    refused("x.jpg", "segment", photo.path, tmp_path / "x.jpg", *_model(toy), "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_segment_refuses(tmp_path, toy, photo, refused):
    out = ("-o", tmp_path / "out")
    refused("no_such_model", "segment", photo.path, "--model", "no_such_model", *out)
    refused("bundled", "segment", photo.path, "--model", "bundeld", *out)
    refused("weights are missing", "segment", photo.path, "--model", toy.prototxt, *out)
    refused("gone.png", "segment", tmp_path / "gone.png", *_model(toy), *out)
    refused("gone.prototxt", "segment", photo.path, "--model", tmp_path / "gone.prototxt", "--weights", "w", *out)
    refused("gone.caffemodel", "segment", photo.path, "--model", toy.prototxt, "--weights", "gone.caffemodel", *out)
    refused("--scales", "segment", photo.path, *_model(toy), *out, "--scales", "1,x")
    refused("scales", "segment", photo.path, *_model(toy), *out, "--scales", "-1")
    refused("--mean", "segment", photo.path, *_model(toy), *out, "--mean", "x")
    refused("nowhere", "segment", photo.path, *_model(toy), *out, "--score-blob", "nowhere")
    refused("/proc/nope", "segment", photo.path, *_model(toy), "-o", "/proc/nope")
    (tmp_path / "file").touch()
    refused("file", "segment", photo.path, *_model(toy), "-o", tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_no_images_in_a_folder(tmp_path, toy, refused):
    (tmp_path / "empty").mkdir()
    refused("no images", "segment", tmp_path / "empty", *_model(toy), "-o", tmp_path / "out")


def test_photographs_are_segmented_as_exif_turns_them(tmp_path, toy, photo, deeplab):
    (tmp_path / "in").mkdir()
    shapes = {}
    for orientation in range(2, 9):
        files = (tmp_path / "in" / f"{kind}{orientation}" for kind in ("turned", "upright"))
        turned_file, upright_file = (file.with_suffix(end) for file, end in zip(files, (".jpg", ".png"), strict=True))
        shapes[orientation] = write_both(photo.pixels, orientation, turned_file, upright_file).shape[:2]
    result = deeplab("segment", tmp_path / "in", *_model(toy), "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    for orientation, shape in shapes.items():
        labels, upright = (
            np.asarray(Image.open(tmp_path / "out" / f"{kind}{orientation}.png")) for kind in ("turned", "upright")
        )
        assert labels.shape == shape == ((37, 50) if orientation < 5 else (50, 37))
        np.testing.assert_array_equal(labels, upright)


def test_a_quoted_pattern_is_expanded(tmp_path, toy, photo, deeplab, refused):
    write_image(photo.pixels, tmp_path / "b.png")
    result = deeplab("segment", tmp_path / "*.png", *_model(toy), "-o", tmp_path / "out", "--json", "-")
    assert [row["image"] for row in json.loads(result.stdout)["images"]] == [str(tmp_path / "b.png"), str(photo.path)]
    refused("*.jpg: matches no file", "segment", tmp_path / "*.jpg", *_model(toy), "-o", tmp_path / "out")


def test_a_video_becomes_a_video(tmp_path, toy, deeplab, refused):
    with written_video(tmp_path / "drive.mp4", 5) as writer:
        for level in (40, 120, 200):
            writer.write(np.full((48, 200, 3), level, np.uint8))
    result = deeplab("segment", tmp_path / "drive.mp4", *_model(toy), "-o", tmp_path / "out", "--json", "-")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["images"]
    assert (row["frames"], row["height"], row["width"]) == (3, 48, 200)
    assert sum(row["shares"].values()) == pytest.approx(1, abs=1e-5)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["drive_overlay.mp4"]
    video = open_video(tmp_path / "out" / "drive_overlay.mp4")
    assert (video.frames, video.rate) == (3, 5)
    result = deeplab("segment", tmp_path / "drive.mp4", *_model(toy), "-o", tmp_path / "out")
    assert "drive_overlay.mp4" in result.stdout
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    refused("bad.mp4: no video", "segment", tmp_path / "bad.mp4", *_model(toy), "-o", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_bundled_model_says_what_it_knows(tmp_path, photo, toy, deeplab):
    result = deeplab("segment", photo.path, "-o", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith(
        "note: the bundled model was trained on photographs of animals and people and knows background, cat, "
    )
    assert deeplab("segment", photo.path, *_model(toy), "-o", tmp_path / "out").stderr == ""


def test_one_photograph_loads_neither_a_compiler_nor_what_draws(tmp_path, photo):
    code = (
        "import sys\nfrom deeplab_repro.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch._dynamo', 'torch._inductor', 'matplotlib', 'scipy', 'h5py', 'onnx', 'torchvision'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    words = ["segment", photo.path, "-o", tmp_path / "out", "--device", "cpu", "--crf"]
    result = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
