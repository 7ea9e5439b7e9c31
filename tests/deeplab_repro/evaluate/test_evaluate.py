"""Evaluation of segmenters, stored scores and stored labels."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from deeplab_repro.crf.model import CRFParams
from deeplab_repro.data.scenes.scenes import draw_scene
from deeplab_repro.data.sets.datasets import open_dataset
from deeplab_repro.evaluate.evaluate import count, evaluate, from_labels, from_scores, from_segmenter
from deeplab_repro.evaluate.metrics import ConfusionMatrix, trimap_band
from deeplab_repro.files.images import write_image
from deeplab_repro.files.palette import save_label_png
from deeplab_repro.jobs.ranks import Ranks
from deeplab_repro.predict.segmenter import Segmenter

CLASSES = 10
CRF = CRFParams(iterations=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five scenes in VOC's layout with void outlines, scores as .npy beside them, and answers as PNGs."""
    root = tmp_path_factory.mktemp("voc")
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "scores", "labels"):
        (root / name).mkdir(parents=True)
    random = np.random.default_rng(2)
    names = [f"s{i}" for i in range(5)]
    for i, name in enumerate(names):
        image, labels = draw_scene(i, 40, 50 + i)
        labels[random.random(labels.shape) < 0.02] = 255
        write_image(image, root / "JPEGImages" / f"{name}.png")
        save_label_png(labels, root / "SegmentationClass" / f"{name}.png")
        scores = random.normal(size=(CLASSES, *labels.shape)).astype(np.float32)
        scores[1:] += 2 * (labels[None] == np.arange(1, CLASSES)[:, None, None])
        np.save(root / "scores" / f"{name}.npy", scores)
        save_label_png(scores.argmax(0), root / "labels" / f"{name}.png")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("\n".join(names) + "\n")
    (root / "classes.json").write_text(json.dumps({"classes": [f"c{i}" for i in range(CLASSES)]}))
    return root


@pytest.fixture
def dataset(folder):
    return open_dataset(folder)


def same(a, b):
    return set(a.counts) == set(b.counts) and all(np.array_equal(a.counts[k], b.counts[k]) for k in a.counts)


def test_counts_are_those_of_one_confusion_matrix(folder, dataset):
    matrix = ConfusionMatrix(CLASSES)
    for sample in dataset.samples:
        matrix.update(np.load(folder / "scores" / f"{sample.name}.npy").argmax(0), dataset.truth(sample))
    result = evaluate(from_scores(folder / "scores"), dataset)
    np.testing.assert_array_equal(result.confusion.matrix, matrix.matrix)
    assert result.images == 5
    assert result.summary()["network"]["miou"] == pytest.approx(matrix.miou("zero"))


def test_stored_labels_count_like_the_scores_they_came_from(folder, dataset):
    assert same(
        evaluate(from_labels(folder / "labels", dataset), dataset), evaluate(from_scores(folder / "scores"), dataset)
    )


def test_the_crf_is_counted_beside_the_network(folder, dataset):
    result = evaluate(from_scores(folder / "scores"), dataset, CRF)
    assert list(result.counts) == ["network", "crf"]
    assert result.confusion.miou() > result.stage("network").miou()


@pytest.mark.parametrize("boundary", ["void", "edges"])
def test_trimap_bands_are_the_squares_around_void(folder, dataset, boundary):
    sample = dataset.samples[0]
    labels, truth = np.load(folder / "scores" / "s0.npy").argmax(0), dataset.truth(sample)
    widths = (0, 1, 3, 200)
    got = count(labels, truth, dataset, widths, boundary)
    for width, counts in zip(widths, got[1:], strict=True):
        band = trimap_band(truth, width)
        if boundary == "edges":
            edges = np.zeros(truth.shape, bool)
            for y, x in np.ndindex(truth.shape):
                near = truth[max(y - 1, 0) : y + 2, x], truth[y, max(x - 1, 0) : x + 2]
                edges[y, x] = any((each != truth[y, x]).any() for each in near)
            band = trimap_band(np.where(edges, 255, 0), width)
        matrix = ConfusionMatrix(CLASSES)
        matrix.update(labels[band], truth[band])
        np.testing.assert_array_equal(counts[:, :-1], matrix.matrix)
    np.testing.assert_array_equal(got[-1], got[0])


def test_truth_without_void_has_empty_void_bands(dataset):
    truth = np.zeros((5, 6), np.uint8)
    assert count(truth, truth, dataset, (1, 40))[1:].sum() == 0


@pytest.mark.parametrize("tile", [None, (33, 33)])
def test_the_segmenter_is_as_it_was_handed_over(folder, dataset, tile):
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


def test_parts_of_the_set_add_up_to_the_whole(folder, dataset, monkeypatch):
    source = from_scores(folder / "scores")
    whole = evaluate(source, dataset, trimap_widths=(1, 2))
    parts = []
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: parts.append(tensor.numpy().copy()))
    for rank in range(3):
        evaluate(source, dataset, None, (1, 2), Ranks(rank, 3))
    np.testing.assert_array_equal(sum(parts)[0], whole.counts["network"])


def test_an_interrupted_run_goes_on_and_notes_of_any_split_serve(folder, dataset, tmp_path):
    asked = []
    inner = from_scores(folder / "scores")

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


def test_other_settings_are_not_mixed_into_a_folder(folder, dataset, tmp_path):
    evaluate(from_scores(folder / "scores"), dataset, resume=tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        evaluate(from_scores(folder / "scores"), dataset, CRF, resume=tmp_path)


@pytest.mark.parametrize("room", ["JPEGImages/s1.png", "SegmentationClass/s1.png", "scores/s1.npy"])
def test_an_image_whose_files_changed_is_counted_anew(folder, tmp_path, room):
    copy, notes = tmp_path / "copy", tmp_path / "notes"
    shutil.copytree(folder, copy)
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


def test_no_rank_adds_to_counts_of_other_settings(folder, dataset, tmp_path):
    evaluate(from_scores(folder / "scores"), dataset, resume=tmp_path)
    with pytest.raises(ValueError, match="other settings"):
        evaluate(from_scores(folder / "scores"), dataset, CRF, ranks=Ranks(1, 2), resume=tmp_path)
    assert [file.name for file in tmp_path.glob("counts.*")] == ["counts.0.jsonl"]


def test_images_of_one_name_are_not_kept_by_it(folder, dataset, tmp_path):
    twin = replace(dataset.samples[1], name=dataset.samples[0].name)
    twins = replace(dataset, samples=(dataset.samples[0], twin))
    source = from_labels(folder / "labels", dataset)
    with pytest.raises(ValueError, match=r"s0.png and .*s1.png: both are called 's0'"):
        evaluate(source, twins, resume=tmp_path)
    assert evaluate(lambda sample, image: image[..., 0], twins).images == 2


def test_a_broken_note_is_named(folder, dataset, tmp_path):
    evaluate(from_scores(folder / "scores"), dataset, resume=tmp_path)
    (tmp_path / "counts.0.jsonl").write_text('{"name": "s0", "places": [99999], "values": [1]}\n')
    with pytest.raises(ValueError, match=r"counts.0.jsonl:1"):
        evaluate(from_scores(folder / "scores"), dataset, resume=tmp_path)


def test_errors_name_the_files(folder, dataset):
    lost = replace(dataset.samples[0], name="none")
    with pytest.raises(ValueError, match="no scores of none"):
        evaluate(from_scores(folder / "scores"), replace(dataset, samples=(lost,)))
    with pytest.raises(ValueError, match=r"s0.png: the answer has 3 x 3"):
        evaluate(lambda sample, image: np.zeros((3, 3), np.uint8), dataset)
    with pytest.raises(ValueError, match=r"SegmentationClass/s0.png: holds label 9"):
        evaluate(lambda sample, image: image[..., 0], replace(dataset, class_names=dataset.class_names[:9]))
    with pytest.raises(ValueError, match="no scores to refine"):
        evaluate(lambda sample, image: image[..., 0], dataset, CRF)


def test_the_verb_writes_figures_pictures_scores_and_submissions(folder, deeplab, tmp_path):
    out, labels = tmp_path / "out", tmp_path / "labels"
    result = deeplab(
        "eval", folder, "--scores", folder / "scores", "-o", out, "--write-labels", labels, "--layout", "voc",
        "--store-scores", tmp_path / "again", "--json", tmp_path / "a.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "a.json").read_text())
    assert answer["absent_rule"] == "devkit"
    assert set(answer["stages"]["network"]) == {"pixel_accuracy", "mean_accuracy", "miou", "fwiou", "per_class"}
    assert (out / "confusion.png").read_bytes().startswith(b"\x89PNG")
    written = labels / "results" / "VOC2012" / "Segmentation" / "comp6_val_cls" / "s0.png"
    assert written.read_bytes() == (folder / "labels" / "s0.png").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "s1.npy"), np.load(folder / "scores" / "s1.npy"))


def test_files_asked_for_later_are_written_though_all_is_counted(folder, deeplab, tmp_path):
    command = ["eval", folder, "--scores", folder / "scores", "-o", tmp_path / "out", "--json", "-"]
    first = deeplab(*command)
    assert first.exit_code == 0, first.output
    labels, again = tmp_path / "labels", tmp_path / "again"
    assert deeplab(*command, "--write-labels", labels, "--store-scores", again).stdout == first.stdout
    assert (labels / "s3.png").read_bytes() == (folder / "labels" / "s3.png").read_bytes()
    (labels / "s3.png").unlink()
    kept = (labels / "s2.png").stat().st_mtime_ns
    assert deeplab(*command, "--write-labels", labels, "--store-scores", again).stdout == first.stdout
    assert (labels / "s3.png").is_file()
    assert (labels / "s2.png").stat().st_mtime_ns == kept


@pytest.fixture
def handed_in(folder, tmp_path):
    """The folder with a split whose truth is kept elsewhere."""
    root = tmp_path / "handed_in"
    shutil.copytree(folder, root)
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


def test_a_test_split_that_has_its_truth_is_scored(folder, deeplab, tmp_path):
    root = tmp_path / "open"
    shutil.copytree(folder, root)
    shutil.copy(root / "ImageSets/Segmentation/val.txt", root / "ImageSets/Segmentation/test.txt")
    answers = [
        json.loads(deeplab("eval", root, "--split", split, "--scores", root / "scores", "--json", "-").stdout)
        for split in ("val", "test")
    ]
    assert answers[0]["stages"] == answers[1]["stages"]


def test_the_bundled_model_is_scored_single_scale_msc_flip_and_in_tiles(folder, deeplab):
    for more in ((), ("--scales", "1,0.5", "--flip", "--crf"), ("--tile", "33x33+8")):
        result = deeplab("eval", folder, "--model", "bundled", "--json", "-", "--device", "cpu", *more)
        assert result.exit_code == 0, result.output
        stages = json.loads(result.stdout)["stages"]
        assert set(stages) == ({"network", "crf"} if "--crf" in more else {"network"})
        assert 0 < stages["network"]["pixel_accuracy"] <= 1


def test_absent_rules_differ_where_a_class_occurs_nowhere(tmp_path, deeplab, folder):
    found = {}
    for rule in ("devkit", "drop", "segaccuracy"):
        more = (
            "eval",
            folder,
            "--labels",
            folder / "SegmentationClass",
            "--classes",
            20,
            "--absent",
            rule,
            "--json",
            "-",
        )
        found[rule] = json.loads(deeplab(*more).stdout)["stages"]["network"]["miou"]
    assert found["drop"] == found["segaccuracy"] == 1
    assert found["devkit"] <= 0.5


def test_the_trimap_verb_writes_its_curve(folder, deeplab, tmp_path):
    result = deeplab("trimap", folder, "--scores", folder / "scores", "--widths", "1:4", "-o", tmp_path / "t")
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "t" / "trimap.json").read_text())
    assert answer["widths"] == [1, 2, 3, 4]
    assert len(answer["curves"]["network"]) == 4
    assert (tmp_path / "t" / "trimap.png").is_file()


def test_unfit_command_lines_are_refused(folder, refused, tmp_path):
    for verb in ("eval", "trimap"):
        refused("give --model", verb, folder)
    refused("exclude", "eval", folder, "--scores", folder / "scores", "--labels", folder / "labels")
    refused("no such list", "eval", folder, "--split", "other", "--labels", folder / "labels")
    refused("--tile", "eval", folder, "--model", "bundled", "--tile", "9")
    refused("layout", "eval", folder, "--labels", folder / "labels", "--write-labels", tmp_path, "--layout", "x")
    refused("10 classes", "eval", folder, "--model", "bundled", "--classes", "12")
    refused("--widths", "trimap", folder, "--widths", "5:1", "--labels", folder / "labels")


def test_two_processes_count_what_one_does(folder, deeplab, two_processes, tmp_path):
    """Both ranks take part in the sums and one reports."""
    command = ["eval", folder, "--scores", folder / "scores", "--crf"]
    assert two_processes(*command, "-o", tmp_path / "two")[0] == 0
    assert deeplab(*command, "-o", tmp_path / "one").exit_code == 0
    answers = {name: json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")}
    assert answers["one"]["confusion"] == answers["two"]["confusion"]
    assert {file.name for file in (tmp_path / "two").glob("counts.*")} == {"counts.0.jsonl", "counts.1.jsonl"}


def test_an_error_in_one_process_ends_the_job_and_names_it(folder, two_processes, tmp_path):
    for file in (folder / "scores").iterdir():
        if file.stem != "s1":  # the first image of rank 1
            (tmp_path / file.name).write_bytes(file.read_bytes())
    code, said = two_processes("eval", folder, "--scores", tmp_path)
    assert code != 0
    assert f"deeplab eval: error: rank 1 of 2: {tmp_path}: no scores of s1" in said.splitlines()
