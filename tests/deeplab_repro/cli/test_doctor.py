"""Planted faults are found, named and mended."""

import json

import pytest
from PIL import Image

from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png
from tests.deeplab_repro.data.sets.faulty_sets import every, labels_of, plant, scene

UNMENDED = ["lossy", "missing label", "missing image", "damaged image", "damaged label", "overlap", "listed twice"]
FAULTS = [
    "few bits",
    "16 bits",
    "palette order",
    "turned",
    "palette as grey",
    "colours",
    "void is 0",
    "shifted",
    "beyond classes",
    "size",
    "unknown colours",
    *UNMENDED,
]


def test_a_healthy_set_has_nothing_wrong(voc_scenes, deeplab):
    result = deeplab("doctor", voc_scenes, "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["faults"] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found_and_the_repaired_copy_is_healthy(voc_scenes, deeplab, tmp_path, fault):
    plant(fault, voc_scenes)
    before = {file: file.read_bytes() for file in voc_scenes.rglob("*") if file.is_file()}
    result = deeplab("doctor", voc_scenes, "--json", "-", "--fix", tmp_path / "fixed")
    assert result.exit_code == 1, result.output
    answer = json.loads(result.stdout)
    kind = {"shifted": "void is 0"}.get(fault, fault)
    kinds = {told["kind"] for told in answer["faults"] if not told["note"]}
    assert kind in kinds
    assert kinds <= {kind, "beyond classes"}  # a JPEG's values are such, too
    assert {file: file.read_bytes() for file in voc_scenes.rglob("*") if file.is_file()} == before
    assert deeplab("doctor", tmp_path / "fixed").exit_code == 0
    if fault in (
        "lossy",
        "missing label",
        "missing image",
        "damaged image",
        "damaged label",
        "overlap",
        "listed twice",
    ):
        assert len(answer["repaired"]["left_out"]) == 1
    else:
        assert answer["repaired"]["kept"] == {"train": 4, "val": 2}


def test_palette_pngs_are_noted_but_no_fault(voc_scenes, deeplab):
    every(voc_scenes, save_label_png)
    result = deeplab("doctor", voc_scenes)
    assert result.exit_code == 0
    assert "note: palette" in result.stdout


def test_list_files_and_their_class_count(voc_scenes, deeplab):
    for split in ("train", "val"):
        ids = (voc_scenes / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()
        lines = [f"/JPEGImages/{name}.png /SegmentationClass/{name}.png\n" for name in ids]
        (voc_scenes / f"{split}.txt").write_text("".join(lines))
    lists = (voc_scenes / "train.txt", voc_scenes / "val.txt")
    assert deeplab("doctor", *lists, "--classes", 21).exit_code == 0
    assert deeplab("doctor", *lists, "--classes", 9).exit_code == 1


def test_images_of_one_name_in_other_folders_are_no_doubles(tmp_path, deeplab):
    for i, name in enumerate(("train/x", "train/y", "val/x")):
        (tmp_path / name).mkdir(parents=True)
        write_image(scene(i)[0], tmp_path / name / "1.png")
        Image.fromarray(labels_of(i)).save(tmp_path / name / "1_labels.png")
    (tmp_path / "train.txt").write_text("".join(f"train/{x}/1.png train/{x}/1_labels.png\n" for x in "xy"))
    (tmp_path / "val.txt").write_text("val/x/1.png val/x/1_labels.png\n")
    lists = (tmp_path / "train.txt", tmp_path / "val.txt")
    result = deeplab("doctor", *lists, "--classes", 21, "--json", "-", "--fix", tmp_path / "fixed")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["faults"] == []
    assert answer["repaired"]["kept"] == {"train": 2, "val": 1}


def test_what_cannot_be_examined_is_refused(voc_scenes, refused, tmp_path):
    refused("no data set", "doctor", tmp_path)
    refused("no such list", "doctor", voc_scenes, "--split", "other")
    refused("is there already", "doctor", voc_scenes, "--fix", voc_scenes)


def test_colours_are_told_with_their_legend(voc_scenes, deeplab):
    plant("colours", voc_scenes)
    result = deeplab("doctor", voc_scenes)
    assert "1 aeroplane (128, 0, 0)" in result.stdout
    assert "255 void (224, 224, 192)" in result.stdout
