"""Bad Caffe files at the command line: one line that names the culprit, exit code 2, nothing left behind."""

import re

import numpy as np
import pytest

TYPOS = {
    "num_output: 4 kernel_size": ("num_output: 4 kernal_size", "kernal_size"),
    'bottom: "conv1" top: "pool1"': ('bottom: "nowhere" top: "pool1"', "nowhere"),
    'type: "Interp"': ('type: "Intrep"', "Intrep"),
    "num_output: 5": ("num_output: 6", "'fc'"),
    "zoom_factor: 2": ("zoom_factor: two", "two"),
    "pool: MAX": ("pool: MIX", "MIX"),
    "dim: 33 dim: 33": ("dim: -33 dim: 33", "-33"),
}


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    yield tmp_path / "out" / "o.safetensors"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("right", TYPOS, ids=lambda right: TYPOS[right][1])
def test_faults_of_a_prototxt_are_named(tmp_path, toy, refused, out, right):
    wrong, word = TYPOS[right]
    text = toy.prototxt.read_text()
    assert right in text
    (tmp_path / "n.prototxt").write_text(text.replace(right, wrong))
    refused(word, "convert", tmp_path / "n.prototxt", toy.caffemodel, "-o", out)
    refused("n.prototxt", "convert", tmp_path / "n.prototxt", toy.caffemodel, "-o", out)


def test_a_typo_gets_its_line_and_the_nearest_field(tmp_path, toy, deeplab):
    lines = toy.prototxt.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if "kernel_size" in line)
    lines[number] = lines[number].replace("kernel_size", "kernal_size")
    (tmp_path / "n.prototxt").write_text("\n".join(lines))
    message = deeplab("inspect", tmp_path / "n.prototxt").stderr
    assert re.search(rf"n\.prototxt:{number + 1}:.*kernal_size.*kernel_size", message)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_truncated_weights(tmp_path, toy, refused, out, share):
    content = toy.caffemodel.read_bytes()
    (tmp_path / "w.caffemodel").write_bytes(content[: int(share * len(content))])
    refused("w.caffemodel", "convert", toy.prototxt, tmp_path / "w.caffemodel", "-o", out)


def test_foreign_weights(tmp_path, toy, refused, out):
    noise = np.random.default_rng(11).integers(0, 256, 5000, np.uint8).tobytes()
    for content in (noise, b"\x89HDF\r\n\x1a\n" + noise, b"PK\3\4" + noise, b"name: text"):
        (tmp_path / "w.caffemodel").write_bytes(content)
        refused("w.caffemodel", "convert", toy.prototxt, tmp_path / "w.caffemodel", "-o", out)


def test_missing_files_and_folders(tmp_path, toy, refused, out):
    refused("gone.prototxt", "convert", tmp_path / "gone.prototxt", toy.caffemodel, "-o", out)
    refused("gone.caffemodel", "convert", toy.prototxt, tmp_path / "gone.caffemodel", "-o", out)
    refused(tmp_path, "convert", tmp_path, toy.caffemodel, "-o", out)
    refused("/proc/nope", "convert", toy.prototxt, toy.caffemodel, "-o", "/proc/nope/o.safetensors")
    refused("is a folder", "convert", toy.prototxt, toy.caffemodel, "-o", out.parent)


def test_broken_checkpoints(tmp_path, toy, deeplab, refused, photo):
    checkpoint = tmp_path / "a.safetensors"
    assert deeplab("convert", toy.prototxt, toy.caffemodel, "-o", checkpoint).exit_code == 0
    content = checkpoint.read_bytes()
    for broken in (content[:-20], content[:40], b"", b"hello", content.replace(b"prototxt", b"prototex", 1)):
        checkpoint.write_bytes(broken)
        refused("a.safetensors", "inspect", checkpoint)
        refused("a.safetensors", "segment", photo.path, "--model", checkpoint, "-o", tmp_path / "seg")
    assert not (tmp_path / "seg").exists()


# {bad}: a path that is not there, or a folder in a file's place and the other way round; {out}: where nothing appears.
READS = (
    "inspect {bad}", "convert {bad} {bad} -o {out}.npz", "diff {bad} --golden {bad}", "run {bad} -o {out}.npz",
    "segment {bad} -o {out}", "crf {bad} --scores {bad} -o {out}.png", "crf-search {bad} {bad} {bad} -o {out}",
    "eval {bad} --model bundled", "trimap {bad} --model bundled", "doctor {bad}", "lists voc-layout {bad} -o {out}",
    "lists voc2012 {bad} -o {out}", "export deeplab_largefov --weights {bad} -o {out}", "densify {bad} -o {out}",
    "export deeplab_largefov --train --data {bad} -o {out}", "train {bad}", "verify --no-timings --data {bad}",
)  # fmt: skip


@pytest.mark.parametrize("command", READS, ids=lambda command: " ".join(command.split()[:2]))
def test_wrong_paths_are_one_line_that_names_them(tmp_path, refused, command):
    (tmp_path / "empty").mkdir()
    for bad in ("gone", "empty"):
        if bad == "empty" and command.startswith("verify"):
            continue  # any folder may be a data set's: its lists are missed later
        words = command.format(bad=tmp_path / bad, out=tmp_path / "out").split()
        refused(tmp_path / bad, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


WRITES = (
    "convert {net} {model} -o {bad}/o.npz", "run {net} {model} --input data={image} -o {bad}/o.npz",
    "segment {image} -o {bad}", "crf {image} --scores {image} -o {bad}/o.png", "export {net} -o {bad}",
    "verify --no-timings --html {bad}/v.html", "inspect {net} --json {bad}/i.json",
)  # fmt: skip


@pytest.mark.parametrize("command", WRITES, ids=lambda command: " ".join(command.split()[:2]))
def test_a_file_in_an_output_folders_place_is_one_line(tmp_path, toy, photo, refused, command):
    bad = tmp_path / "file"
    bad.write_text("mine")
    words = {"bad": bad, "net": toy.prototxt, "model": toy.caffemodel, "image": photo.path}
    refused(bad, *command.format(**words).split())
    assert bad.read_text() == "mine"
