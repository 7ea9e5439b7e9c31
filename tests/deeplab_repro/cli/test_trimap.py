"""The trimap verb on a set without void pixels."""

import json

import pytest
from PIL import Image

from deeplab_repro.data.scenes.scenes import draw_scene
from deeplab_repro.files.images import write_image


@pytest.fixture
def unvoid(tmp_path):
    """A scene in VOC's layout without a void pixel, its labels as answers."""
    root = tmp_path / "set"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    image, labels = draw_scene(0, 30, 40)
    write_image(image, root / "JPEGImages" / "s.png")
    Image.fromarray(labels).save(root / "SegmentationClass" / "s.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("s\n")
    return root


def test_bands_without_a_pixel_are_refused_with_the_other_kind_of_boundary(unvoid, deeplab, refused, tmp_path):
    command = ("trimap", unvoid, "--labels", unvoid / "SegmentationClass", "--widths", "1:3")
    refused("use --boundary edges", *command, "-o", tmp_path / "out")
    assert not (tmp_path / "out" / "trimap.json").exists()
    result = deeplab(*command, "--boundary", "edges", "--json", "-")
    assert result.exit_code == 0, result.output
    assert [point["pixel_accuracy"] for point in json.loads(result.stdout)["curves"]["network"]] == [1, 1, 1]


def test_labels_that_never_change_have_no_boundary(unvoid, refused):
    for folder in ("SegmentationClass", "JPEGImages"):
        Image.new("L" if folder == "SegmentationClass" else "RGB", (40, 30)).save(unvoid / folder / "s.png")
    labels = unvoid / "SegmentationClass"
    refused("of a change of labels", "trimap", unvoid, "--labels", labels, "--boundary", "edges")


def test_the_trimap_verb_writes_its_curve(scored_scenes, deeplab, tmp_path):
    result = deeplab(
        "trimap", scored_scenes, "--scores", scored_scenes / "scores", "--widths", "1:4", "-o", tmp_path / "t"
    )
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "t" / "trimap.json").read_text())
    assert answer["widths"] == [1, 2, 3, 4]
    assert len(answer["curves"]["network"]) == 4
    assert (tmp_path / "t" / "trimap.png").is_file()
