"""Scores of weight files on a data set: what they are, and that a run can be killed, shared and gone on with."""

from dataclasses import replace

import numpy as np
import pytest

from deeplab_repro.catalog import Store, read_catalog
from deeplab_repro.evaluate.metrics import ConfusionMatrix, trimap_band
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.predict.segmenter import Segmenter
from deeplab_repro.verify import read_published, scores
from tests.deeplab_repro.conftest import ANSWER, VOC_NAMES

RECORDS = read_published().records


@pytest.fixture
def runs(voc_devkit, weights_folder):
    planned = scores.runs_for(RECORDS, read_catalog(), Store(weights_folder), {"VOC2012": voc_devkit.folder})
    return {run.weights: (run, group) for run, group in planned}


def _expected(voc_devkit, width=0):
    matrix = ConfusionMatrix(21)
    for truth in voc_devkit.truths.values():
        kept = trimap_band(truth, width) if width else np.ones(truth.shape, bool)
        matrix.update(np.full(kept.sum(), ANSWER, np.uint8), truth[kept])
    return matrix


def test_one_run_gives_all_numbers_of_its_weights(runs):
    run, group = runs["v1_largefov_train"]
    assert {record.id for record in group} == {"R007", "R008", "R031", "R040", "R041", "R042"}
    assert (run.crf, run.boundaries, run.input) == ("v1_largefov", False, 513)
    run, group = runs["v1_deeplab_train"]
    assert run.boundaries
    assert sum(record.width > 0 for record in group) == 240


def test_scores_and_boundaries_are_those_of_the_labels(runs, voc_devkit, tmp_path):
    run, group = runs["v1_deeplab_train"]
    scores.count(run, tmp_path / "work")
    scored = scores.gather(run, tmp_path / "work")
    assert scored.result.images == 3
    assert "conv1_1 is 1x3x3x3" in scored.stand_in
    for name, width in (("R001", 0), ("R002", 0), ("R110", 1), ("R115", 30)):
        record = next(record for record in group if record.id == name)
        value, per_class = scored.value(record)
        matrix = _expected(voc_devkit, width)
        assert value == pytest.approx(100 * matrix.miou("nan" if width else "zero"))
        assert per_class["person"] == pytest.approx(100 * matrix.per_class()[ANSWER])
        assert per_class["bird"] is None
    accuracy = next(record for record in group if record.metric == "trimap_pixel_acc" and record.width == 5)
    assert scored.value(accuracy)[0] == pytest.approx(100 * _expected(voc_devkit, 5).pixel_accuracy())
    classes = next(record for record in group if record.metric == "trimap_class_acc" and record.width == 5)
    assert scored.value(classes)[0] == pytest.approx(100 * _expected(voc_devkit, 5).mean_accuracy())


def test_finished_images_are_not_counted_again(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "SHARE", 1)
    run, _ = runs["v1_largefov_train"]
    scores.count(run, tmp_path, rank=(1, 3))
    assert [path.name for path in run.folder(tmp_path).iterdir()] == ["00001"]
    done = []
    answer = Segmenter.scores
    monkeypatch.setattr(Segmenter, "scores", lambda self, image: done.append(len(image)) or answer(self, image))
    scores.count(run, tmp_path)
    assert done == [30, 44]  # heights of the first and the last
    assert scores.gather(run, tmp_path).result.images == 3
    assert len(done) == 2


def test_shares_and_processes_change_nothing(runs, tmp_path, monkeypatch):
    run, _ = runs["v1_largefov_train"]
    scores.count(run, tmp_path / "one")
    alone = scores.gather(run, tmp_path / "one")
    monkeypatch.setattr(scores, "SHARE", 2)
    scores.count(run, tmp_path / "two", processes=2)
    assert len(list((tmp_path / "two").glob("*/*/counts.*"))) == 2
    two = scores.gather(run, tmp_path / "two")
    for stage, counts in alone.result.counts.items():
        assert np.array_equal(two.result.counts[stage], counts)


def test_other_weights_have_other_counts(runs, weights_folder):
    run, _ = runs["v1_largefov_train"]
    work = weights_folder / "work"
    assert run.folder(work) != replace(run, digest="other").folder(work)
    assert run.folder(work) != replace(run, crf="").folder(work)
    assert run.folder(work) == replace(run, path=weights_folder / "elsewhere").folder(work)


def test_labels_that_are_no_classes_name_their_file(runs, voc_devkit, tmp_path):
    run, _ = runs["v1_largefov_train"]
    save_label_png(np.full((30, 41), 77, np.uint8), voc_devkit.root / "SegmentationClass" / f"{VOC_NAMES[0]}.png")
    with pytest.raises(ValueError, match=rf"{VOC_NAMES[0]}\.png: .*77"):
        scores.count(run, tmp_path)


def test_nets_trained_on_smaller_images_are_given_smaller_ones(runs, monkeypatch, tmp_path):
    run, _ = runs["v1_largefov_train"]
    sizes = []
    scored = Segmenter._scores
    monkeypatch.setattr(Segmenter, "_scores", lambda self, image: sizes.append(image.shape) or scored(self, image))
    scores.count(replace(run, scale=0.5), tmp_path)
    assert sizes[0] == (15, 20, 3)


def test_images_are_padded_to_the_size_of_the_released_test_nets(runs):
    run, _ = runs["v1_largefov_train"]
    segmenter, _ = scores._segmenter(run, "cpu")
    assert segmenter.padded_size(375, 500) == (513, 513)
    assert segmenter.padded_size(600, 500) == (609, 513)


def test_split_is_found_in_the_folder_or_below_it(voc_devkit):
    for folder in (voc_devkit.folder, voc_devkit.root):
        assert [sample.name for sample in scores.open_split(folder, "VOC2012", "val").samples] == list(VOC_NAMES)
    listing = voc_devkit.root / "ImageSets" / "Segmentation" / "val.txt"
    listing.write_text("".join(f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png\n" for name in VOC_NAMES))
    dataset = scores.open_split(voc_devkit.folder, "VOC2012", "val")
    assert dataset.samples[0].label == voc_devkit.root / "SegmentationClass" / f"{VOC_NAMES[0]}.png"


def test_folder_without_class_names_gets_the_data_sets_number(voc_devkit):
    assert scores.open_split(voc_devkit.folder, "VOC2012", "val", "context").num_classes == 60


def test_what_the_list_names_must_be_there(voc_devkit):
    (voc_devkit.root / "JPEGImages" / f"{VOC_NAMES[1]}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{VOC_NAMES[1]}\.jpg"):
        scores.open_split(voc_devkit.folder, "VOC2012", "val")
    with pytest.raises(FileNotFoundError, match=rf"Aug.{VOC_NAMES[0]}\.png"):
        scores.open_split(voc_devkit.folder, "VOC2012", "val", labels="SegmentationClassAug")
    with pytest.raises(ValueError, match=r"test\.txt: no such list"):
        scores.open_split(voc_devkit.folder, "VOC2012", "test")
