"""Evaluation of segmenters, stored scores and stored labels."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from deeplab_repro.crf.model import CRFParams
from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.evaluate.evaluate import count, evaluate, from_labels, from_scores, from_segmenter
from deeplab_repro.evaluate.metrics import ConfusionMatrix, trimap_band
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.predict.segmenter import Segmenter

CLASSES = 10
CRF = CRFParams(iterations=1)


@pytest.fixture
def dataset(scored_scenes):
    return open_dataset(scored_scenes)


def same(a, b):
    return set(a.counts) == set(b.counts) and all(np.array_equal(a.counts[k], b.counts[k]) for k in a.counts)


def test_counts_are_those_of_one_confusion_matrix(scored_scenes, dataset):
    matrix = ConfusionMatrix(CLASSES)
    for sample in dataset.samples:
        matrix.update(np.load(scored_scenes / "scores" / f"{sample.name}.npy").argmax(0), dataset.truth(sample))
    result = evaluate(from_scores(scored_scenes / "scores"), dataset)
    np.testing.assert_array_equal(result.confusion.matrix, matrix.matrix)
    assert result.images == 5
    assert result.summary()["network"]["miou"] == pytest.approx(matrix.miou("zero"))


def test_stored_labels_count_like_the_scores_they_came_from(scored_scenes, dataset):
    assert same(
        evaluate(from_labels(scored_scenes / "labels", dataset), dataset),
        evaluate(from_scores(scored_scenes / "scores"), dataset),
    )


def test_the_crf_is_counted_beside_the_network(scored_scenes, dataset):
    result = evaluate(from_scores(scored_scenes / "scores"), dataset, CRF)
    assert list(result.counts) == ["network", "crf"]
    assert result.confusion.miou() > result.stage("network").miou()


@pytest.mark.parametrize("boundary", ["void", "edges"])
def test_trimap_bands_are_the_squares_around_void(scored_scenes, dataset, boundary):
    sample = dataset.samples[0]
    labels, truth = np.load(scored_scenes / "scores" / "s0.npy").argmax(0), dataset.truth(sample)
    widths = (0, 1, 3, 200)
    got = count(labels, truth, dataset, widths, boundary)
    for width, counts in zip(widths, got[1:], strict=True):
        band = trimap_band(truth, width)
        if boundary == "edges":
            edges = np.zeros(truth.shape, bool)
            for y, x in np.ndindex(truth.shape):
                near = truth[max(y - 1, 0) : y + 2, x], truth[y, max(x - 1, 0) : x + 2]
                edges[y, x] = any((neighbours != truth[y, x]).any() for neighbours in near)
            band = trimap_band(np.where(edges, 255, 0), width)
        matrix = ConfusionMatrix(CLASSES)
        matrix.update(labels[band], truth[band])
        np.testing.assert_array_equal(counts[:, :-1], matrix.matrix)
    np.testing.assert_array_equal(got[-1], got[0])


def test_truth_without_void_has_empty_void_bands(dataset):
    truth = np.zeros((5, 6), np.uint8)
    assert count(truth, truth, dataset, (1, 40))[1:].sum() == 0


@pytest.mark.parametrize("tile", [None, (33, 33)])
def test_the_segmenter_is_as_it_was_handed_over(scored_scenes, dataset, tile):
    segmenter = Segmenter(crf=CRF, device="cpu")
    before = {name: value for name, value in vars(segmenter).items() if name != "_sizes"}  # its memory of padded sizes
    weights = segmenter.fingerprint()
    image = dataset.image(dataset.samples[0])
    answer = segmenter(image)
    evaluate(segmenter if tile is None else from_segmenter(segmenter, tile, (8, 8)), dataset, CRFParams(iterations=2))
    after = vars(segmenter)
    assert all(after[name] is value for name, value in before.items())
    assert before.keys() | {"_sizes"} == after.keys()
    assert segmenter.fingerprint() == weights
    np.testing.assert_array_equal(segmenter(image).probabilities, answer.probabilities)
    np.testing.assert_array_equal(segmenter.scores(image), answer.scores)


def test_parts_of_the_set_add_up_to_the_whole(scored_scenes, dataset, monkeypatch):
    source = from_scores(scored_scenes / "scores")
    whole = evaluate(source, dataset, trimap_widths=(1, 2))
    parts = []
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: parts.append(tensor.numpy().copy()))
    for rank in range(3):
        evaluate(source, dataset, None, (1, 2), Ranks(rank, 3))
    np.testing.assert_array_equal(sum(parts)[0], whole.counts["network"])


def test_an_interrupted_run_goes_on_and_notes_of_any_split_serve(scored_scenes, dataset, tmp_path):
    asked = []
    inner = from_scores(scored_scenes / "scores")

    def source(sample, image):
        asked.append(sample.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return inner(sample, image)

    with pytest.raises(KeyboardInterrupt):
        evaluate(source, dataset, CRF, (1, 2), resume=tmp_path)
    # What a kill in the middle of a line leaves.
    with (tmp_path / "counts.0.jsonl").open("a") as file:
        file.write('{"name": "s2", "pla')
    result = evaluate(source, dataset, CRF, (1, 2), resume=tmp_path)
    assert asked[3:] == ["s2", "s3", "s4"]
    assert same(result, evaluate(inner, dataset, CRF, (1, 2)))
    asked.clear()
    assert same(evaluate(source, dataset, CRF, (1, 2), resume=tmp_path), result)
    assert not asked


def test_other_settings_are_not_mixed_into_a_folder(scored_scenes, dataset, tmp_path):
    evaluate(from_scores(scored_scenes / "scores"), dataset, resume=tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        evaluate(from_scores(scored_scenes / "scores"), dataset, CRF, resume=tmp_path)


@pytest.mark.parametrize("room", ["JPEGImages/s1.png", "SegmentationClass/s1.png", "scores/s1.npy"])
def test_an_image_whose_files_changed_is_counted_anew(scored_scenes, tmp_path, room):
    copy, notes = tmp_path / "copy", tmp_path / "notes"
    shutil.copytree(scored_scenes, copy)
    notes.mkdir()

    def result(resume):
        return evaluate(from_scores(copy / "scores"), open_dataset(copy), CRF, resume=resume)

    first = result(notes)
    shutil.copyfile((copy / room).with_stem("s2"), copy / room)
    for name in ("JPEGImages/s{}.png", "SegmentationClass/s{}.png", "scores/s{}.npy"):
        # All of one size, so that any of the three may be another's.
        if room != name.format(1):
            shutil.copyfile(copy / name.format(2), copy / name.format(1))
    second = result(notes)
    assert not same(second, first)
    assert same(second, result(None))
    assert len((notes / "counts.0.jsonl").read_text().splitlines()) == 6


def test_no_rank_adds_to_counts_of_other_settings(scored_scenes, dataset, tmp_path):
    evaluate(from_scores(scored_scenes / "scores"), dataset, resume=tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        evaluate(from_scores(scored_scenes / "scores"), dataset, CRF, ranks=Ranks(1, 2), resume=tmp_path)
    assert [file.name for file in tmp_path.glob("counts.*")] == ["counts.0.jsonl"]


def test_images_of_one_name_are_not_kept_by_it(scored_scenes, dataset, tmp_path):
    twin = replace(dataset.samples[1], name=dataset.samples[0].name)
    twins = replace(dataset, samples=(dataset.samples[0], twin))
    source = from_labels(scored_scenes / "labels", dataset)
    with pytest.raises(ValueError, match=r"s0.png and .*s1.png: both are called 's0'"):
        evaluate(source, twins, resume=tmp_path)
    assert evaluate(lambda sample, image: image[..., 0], twins).images == 2


def test_a_broken_note_is_named(scored_scenes, dataset, tmp_path):
    evaluate(from_scores(scored_scenes / "scores"), dataset, resume=tmp_path)
    (tmp_path / "counts.0.jsonl").write_text('{"name": "s0", "places": [99999], "values": [1]}\n')
    with pytest.raises(ValueError, match=r"counts.0.jsonl:1"):
        evaluate(from_scores(scored_scenes / "scores"), dataset, resume=tmp_path)


def test_errors_name_the_files(scored_scenes, dataset):
    lost = replace(dataset.samples[0], name="none")
    with pytest.raises(ValueError, match="no scores of none"):
        evaluate(from_scores(scored_scenes / "scores"), replace(dataset, samples=(lost,)))
    with pytest.raises(ValueError, match=r"s0.png: the answer has 3 x 3"):
        evaluate(lambda sample, image: np.zeros((3, 3), np.uint8), dataset)
    with pytest.raises(ValueError, match=r"SegmentationClass/s0.png: holds label 9"):
        evaluate(lambda sample, image: image[..., 0], replace(dataset, class_names=dataset.class_names[:9]))
    with pytest.raises(ValueError, match="no scores to refine"):
        evaluate(lambda sample, image: image[..., 0], dataset, CRF)
