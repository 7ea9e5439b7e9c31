"""`deeplab eval`: what it counts, prints, writes and refuses."""

import json
import shutil

import numpy as np
import pytest

from deeplab_repro.data.scenes.scenes import draw_scene
from deeplab_repro.evaluate.evaluate import Result
from deeplab_repro.files.images import turned, write_image
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.predict.segmenter import Segmenter
from tests.deeplab_repro.files.turned_photos import write_turned


def test_weights_that_changed_under_their_name_are_other_settings(toy, deeplab, refused, tmp_path, monkeypatch):
    from prototxt_import import write_weights

    root, model = tmp_path / "set", tmp_path / "w.caffemodel"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    image, labels = draw_scene(0, 33, 40)
    write_image(image, root / "JPEGImages" / "s.png")
    labels %= 5
    labels[:, 20] = 255
    save_label_png(labels, root / "SegmentationClass" / "s.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("s\n")
    shutil.copyfile(toy.caffemodel, model)
    for verb in ("eval", "trimap"):
        command = [verb, root, "--classes", 5, "--model", toy.prototxt, "--weights", model, "-o", tmp_path / verb]
        shutil.copyfile(toy.caffemodel, model)
        assert deeplab(*command).exit_code == 0
        assert deeplab(*command).exit_code == 0
        changed = {**toy.weights, "fc": [blob + 1e-6 for blob in toy.weights["fc"]]}
        write_weights(changed, toy.spec, model, "v2")
        refused("other settings (net differ)", *command)


def test_the_verb_writes_figures_pictures_scores_and_submissions(scored_scenes, deeplab, tmp_path):
    out, labels = tmp_path / "out", tmp_path / "labels"
    result = deeplab(
        "eval", scored_scenes, "--scores", scored_scenes / "scores", "-o", out, "--write-labels", labels,
        "--layout", "voc", "--store-scores", tmp_path / "again", "--json", tmp_path / "a.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "a.json").read_text())
    assert answer["absent_rule"] == "devkit"
    assert set(answer["stages"]["network"]) == {"pixel_accuracy", "mean_accuracy", "miou", "fwiou", "per_class"}
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    written = labels / "results" / "VOC2012" / "Segmentation" / "comp6_val_cls" / "s0.png"
    assert written.read_bytes() == (scored_scenes / "labels" / "s0.png").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "s1.npy"), np.load(scored_scenes / "scores" / "s1.npy"))


def test_files_asked_for_later_are_written_though_all_is_counted(scored_scenes, deeplab, tmp_path):
    command = ["eval", scored_scenes, "--scores", scored_scenes / "scores", "-o", tmp_path / "out", "--json", "-"]
    first = deeplab(*command)
    assert first.exit_code == 0, first.output
    labels, again = tmp_path / "labels", tmp_path / "again"
    assert deeplab(*command, "--write-labels", labels, "--store-scores", again).stdout == first.stdout
    assert (labels / "s3.png").read_bytes() == (scored_scenes / "labels" / "s3.png").read_bytes()
    (labels / "s3.png").unlink()
    kept = (labels / "s2.png").stat().st_mtime_ns
    assert deeplab(*command, "--write-labels", labels, "--store-scores", again).stdout == first.stdout
    assert (labels / "s3.png").is_file()
    assert (labels / "s2.png").stat().st_mtime_ns == kept


@pytest.fixture
def handed_in(scored_scenes, tmp_path):
    """The folder with a split whose truth is kept elsewhere."""
    root = tmp_path / "handed_in"
    shutil.copytree(scored_scenes, root)
    (root / "ImageSets/Segmentation/val.txt").rename(root / "ImageSets/Segmentation/test.txt")
    shutil.rmtree(root / "SegmentationClass")
    (root / "SegmentationClass").mkdir()
    return root


def test_a_split_without_truth_is_answered_for_a_submission(handed_in, deeplab, refused, tmp_path):
    command = ["eval", handed_in, "--split", "test", "--scores", handed_in / "scores"]
    refused("its truth is not published", *command)
    out = tmp_path / "out"
    for _ in range(2):  # begun and gone on with
        result = deeplab(*command, "--write-labels", tmp_path / "labels", "--layout", "voc", "-o", out)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"5 images without truth answered, in {tmp_path / 'labels'}\n"
    written = tmp_path / "labels/results/VOC2012/Segmentation/comp6_test_cls/s0.png"
    assert written.read_bytes() == (handed_in / "labels" / "s0.png").read_bytes()
    assert not (out / "result.json").exists()
    answer = json.loads(deeplab(*command, "--store-scores", tmp_path / "again", "--json", "-").stdout)
    assert answer["images"] == 5
    assert "stages" not in answer


def test_a_test_split_that_has_its_truth_is_scored(scored_scenes, deeplab, tmp_path):
    root = tmp_path / "open"
    shutil.copytree(scored_scenes, root)
    shutil.copy(root / "ImageSets/Segmentation/val.txt", root / "ImageSets/Segmentation/test.txt")
    answers = [
        json.loads(deeplab("eval", root, "--split", split, "--scores", root / "scores", "--json", "-").stdout)
        for split in ("val", "test")
    ]
    assert answers[0]["stages"] == answers[1]["stages"]


def test_the_bundled_model_is_scored_single_scale_msc_flip_and_in_tiles(scored_scenes, deeplab):
    for more in ((), ("--scales", "1,0.5", "--flip", "--crf"), ("--tile", "33x33+8")):
        result = deeplab("eval", scored_scenes, "--model", "scenes", "--json", "-", "--device", "cpu", *more)
        assert result.exit_code == 0, result.output
        stages = json.loads(result.stdout)["stages"]
        assert set(stages) == ({"network", "crf"} if "--crf" in more else {"network"})
        assert 0 < stages["network"]["pixel_accuracy"] <= 1


def test_absent_rules_differ_where_a_class_occurs_nowhere(tmp_path, deeplab, scored_scenes):
    miou = {}
    for rule in ("devkit", "drop", "segaccuracy"):
        more = (
            "eval",
            scored_scenes,
            "--labels",
            scored_scenes / "SegmentationClass",
            "--classes",
            20,
            "--absent",
            rule,
            "--json",
            "-",
        )
        miou[rule] = json.loads(deeplab(*more).stdout)["stages"]["network"]["miou"]
    assert miou["drop"] == miou["segaccuracy"] == 1
    assert miou["devkit"] <= 0.5


def test_unfit_command_lines_are_refused(scored_scenes, refused, tmp_path):
    for verb in ("eval", "trimap"):
        refused("give --model", verb, scored_scenes)
    refused(
        "exclude", "eval", scored_scenes, "--scores", scored_scenes / "scores", "--labels", scored_scenes / "labels"
    )
    refused("no such list", "eval", scored_scenes, "--split", "other", "--labels", scored_scenes / "labels")
    refused("--tile", "eval", scored_scenes, "--model", "scenes", "--tile", "9")
    refused(
        "layout",
        "eval",
        scored_scenes,
        "--labels",
        scored_scenes / "labels",
        "--write-labels",
        tmp_path,
        "--layout",
        "x",
    )
    refused("10 classes", "eval", scored_scenes, "--model", "scenes", "--classes", "12")
    refused("--widths", "trimap", scored_scenes, "--widths", "5:1", "--labels", scored_scenes / "labels")


def test_two_processes_count_what_one_does(scored_scenes, deeplab, two_processes, tmp_path):
    """Both ranks take part in the sums and one reports."""
    command = ["eval", scored_scenes, "--scores", scored_scenes / "scores", "--crf"]
    assert two_processes(*command, "-o", tmp_path / "two")[0] == 0
    assert deeplab(*command, "-o", tmp_path / "one").exit_code == 0
    answers = {name: json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")}
    assert answers["one"]["confusion"] == answers["two"]["confusion"]
    assert {file.name for file in (tmp_path / "two").glob("counts.*")} == {"counts.0.jsonl", "counts.1.jsonl"}


def test_an_error_in_one_process_ends_the_job_and_names_it(scored_scenes, two_processes, tmp_path):
    for file in (scored_scenes / "scores").iterdir():
        if file.stem != "s1":  # the first image of rank 1
            (tmp_path / file.name).write_bytes(file.read_bytes())
    code, said = two_processes("eval", scored_scenes, "--scores", tmp_path)
    assert code != 0
    assert f"deeplab eval: error: rank 1 of 2: {tmp_path}: no scores of s1" in said.splitlines()


def test_the_table_shows_percentages_of_both_stages_and_of_every_class(scored_scenes, deeplab):
    words = ("eval", scored_scenes, "--scores", scored_scenes / "scores", "--crf")
    stages = json.loads(deeplab(*words, "--json", "-").stdout)["stages"]
    result = deeplab(*words)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.startswith("5 images")
    columns = [stages["network"], stages["crf"]]
    for key, start in (("miou", "mean IoU, % (absent classes: devkit)"), ("pixel_accuracy", "pixel accuracy, %")):
        (line,) = [line.strip() for line in result.stdout.splitlines() if line.strip().startswith(start)]
        assert line.removeprefix(start).split() == [f"{100 * stage[key]:.2f}" for stage in columns]
    for name in stages["network"]["per_class"]:
        (line,) = [line for line in result.stdout.splitlines() if line.split()[:1] == [name]]
        assert line.split()[1:] == [f"{100 * stage['per_class'][name]:.2f}" for stage in columns]


def voc_of(root, photos, labels, suffix):
    """A folder in VOC's layout with label maps of these arrays; the photographs are written by `photos`."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for orientation, array in labels.items():
        photos(orientation, root / "JPEGImages" / f"o{orientation}{suffix}")
        save_label_png(array, root / "SegmentationClass" / f"o{orientation}.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("".join(f"o{number}\n" for number in labels))
    return root


def test_photographs_that_exif_turns_are_scored_as_they_are_seen(toy, deeplab, refused, tmp_path):
    pixels, labels = draw_scene(0, 33, 47)
    labels %= 5
    upright = {number: turned(labels, number) for number in range(2, 9)}
    shown = {}

    def lying(number, path):
        shown[number] = write_turned(pixels, number, path)

    first = voc_of(tmp_path / "turned", lying, upright, ".jpg")
    second = voc_of(tmp_path / "upright", lambda number, path: write_image(shown[number], path), upright, ".png")
    words = ("--classes", 5, "--model", toy.prototxt, "--weights", toy.caffemodel, "--device", "cpu", "--json", "-")
    answers = [json.loads(deeplab("eval", root, *words).stdout) for root in (first, second)]
    assert answers[0]["images"] == 7
    assert answers[0]["stages"] == answers[1]["stages"]
    # Truth drawn on the pixels as they lie: a quarter turn exchanges the sides.
    save_label_png(labels, first / "SegmentationClass" / "o6.png")
    refused("o6.png", "eval", first, *words)


def test_an_unknown_preset_or_model_is_refused_before_anything_is_read(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("deeplab_repro.data.sets.datasets.open_dataset", None)
    for verb in ("eval", "trimap"):
        refused("give --model", verb, tmp_path / "gone")
        refused("nope", verb, tmp_path / "gone", "--labels", tmp_path, "--preset", "nope")
        refused("unknown model", verb, tmp_path / "gone", "--model", "nope")


def test_a_declared_input_size_is_kept(scored_scenes, deeplab, refused, monkeypatch):
    sizes = []
    padded = Segmenter.padded_size
    monkeypatch.setattr(Segmenter, "padded_size", lambda self, *size: sizes.append(padded(self, *size)) or sizes[-1])
    words = ("eval", scored_scenes, "--model", "scenes", "--device", "cpu", "--json", "-")
    result = deeplab(*words, "--size", "65x97")
    assert result.exit_code == 0, result.output
    assert set(sizes) == {(65, 97)}
    refused("does not fit the input size 33 x 33", *words[:-2], "--size", "33x33")
    refused("--size 9: must be HEIGHTxWIDTH", *words[:-2], "--size", "9")
    refused("goes without --tile", *words[:-2], "--size", "65x97", "--tile", "33x33+8")


def test_before_and_after_the_crf_are_means_of_the_same_classes():
    """Class 2 is nowhere but in the network's answer, and the CRF takes it away."""
    before = np.array([[[4, 0, 1, 0], [0, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
    after = np.array([[[5, 0, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
    widen = [np.concatenate([counts, np.zeros((1, 4, 1), np.int64)], 2) for counts in (before, after)]
    result = Result(tuple("abcd"), 1, (), {"network": widen[0], "crf": widen[1]})
    stages = result.summary("nan")
    assert stages["network"]["miou"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert stages["crf"]["miou"] == pytest.approx((1 + 1 + 0) / 3)
    assert np.isnan(stages["crf"]["per_class"]["d"])
    counts = dict(zip(("network", "crf"), (np.concatenate([stage, stage]) for stage in widen), strict=True))
    bands = Result(tuple("abcd"), 1, (1,), counts)
    assert bands.trimap_curves()["crf"][0]["miou"] == pytest.approx(2 / 3)
