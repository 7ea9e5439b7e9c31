"""`deeplab train`: what it prints, writes and refuses."""

import json
from pathlib import Path


def test_command_runs_from_another_folder(tiny, deeplab, monkeypatch, tmp_path):
    monkeypatch.chdir("/")
    tiny.write("display: 6")
    prefix, log = tmp_path / "out", tmp_path / "l.jsonl"
    command = ("train", tiny.folder / "solver.prototxt", "--snapshot-prefix", prefix)
    result = deeplab(*command, "--log", log)
    assert result.exit_code == 0, result.output
    assert "Iteration 6, loss = " in result.stdout
    assert (tmp_path / "out_iter_12.solverstate").is_file()
    assert len(tiny.rows("l.jsonl")) == 12
    # Nothing but the answer where a machine reads.
    assert json.loads(deeplab(*command, "--json", "-").stdout)["updates"] == 12


def test_command_refuses_in_one_line(tiny, refused, tmp_path):
    solver = tiny.folder / "solver.prototxt"
    refused("nowhere", "train", solver, "--snapshot-prefix", tmp_path / "nowhere" / "x")
    refused("missing.solverstate", "train", solver, "--snapshot", tmp_path / "missing.solverstate")
    refused("weights", "train", solver, "--snapshot", "a.solverstate", "--weights", "b.caffemodel")
    refused("must end in", "train", solver, "--report", tmp_path / "curve.txt")


def test_the_terminal_shows_them(tiny, deeplab, monkeypatch):
    tiny.write("debug_info: true display: 6")
    monkeypatch.chdir(tiny.folder)
    result = deeplab("train", "solver.prototxt", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("    [Forward] Layer conv1, top blob conv1 data: ") == 2


def test_the_answer_names_updates_seed_and_snapshots(tiny, deeplab, tmp_path):
    tiny.write()
    solver = tiny.folder / "solver.prototxt"
    words = ("train", solver, "--snapshot-prefix", tmp_path / "s", "--max-iter", 5, "--device", "cpu")
    result = deeplab(*words, "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    answer = json.loads((tmp_path / "a.json").read_text())
    assert (answer["updates"], answer["seed"]) == (5, 11)
    files = [path for snapshot in answer["snapshots"] for path in snapshot.values() if isinstance(path, str)]
    assert {Path(path).name for path in files} >= {"s_iter_4.caffemodel", "s_iter_5.solverstate"}
    assert all(Path(path).is_file() for path in files)


def test_unfit_files_are_refused_before_anything_is_trained(tiny, refused, tmp_path):
    solver = tiny.folder / "solver.prototxt"
    refused("none.prototxt", "train", tmp_path / "none.prototxt")
    refused("none.caffemodel", "train", solver, "--weights", tmp_path / "none.caffemodel")
    refused("/proc/nope", "train", solver, "--json", "/proc/nope/a.json")
    refused("--var K: must be NAME=VALUE", "train", solver, "--var", "K")
    assert not list(tmp_path.glob("*.solverstate"))


def test_a_net_in_the_solvers_place_is_told_with_what_to_type(tiny, refused):
    net = tiny.folder / "net.prototxt"
    refused(f"this is a net, not a solver; type: deeplab train {tiny.folder / 'solver.prototxt'}", "train", net)
    (tiny.folder / "solver.prototxt").unlink()
    refused('write solver.prototxt beside it with train_net: "net.prototxt"', "train", net)


def test_a_list_outside_is_refused_with_the_option_that_allows_it(tiny, refused, deeplab, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    net = tiny.folder / "net.prototxt"
    (tiny.folder / "list.txt").rename(outside / "list.txt")
    net.write_text(net.read_text().replace('source: "list.txt"', f'source: "{outside}/list.txt"'))
    solver = tiny.folder / "solver.prototxt"
    refused(f"or allow its folder: --var DATA={outside}", "train", solver)
    words = ("train", solver, "--var", f"DATA={outside}", "--max-iter", 1, "--snapshot-prefix", outside / "s")
    result = deeplab(*words, "--device", "cpu")
    assert result.exit_code == 0, result.output
