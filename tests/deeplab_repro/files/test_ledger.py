"""What is noted of a piece of work survives a kill, and is not mixed with another's."""

import json

import numpy as np
import pytest

from deeplab_repro.files.ledger import CountedImages, Journal, Notes, State, check_origin, fingerprint, read_rows


def test_fingerprints_tell_contents_and_their_order_apart(tmp_path):
    files = [tmp_path / name for name in "abc"]
    for file, content in zip(files, (b"1", b"2", b"1"), strict=True):
        file.write_bytes(content)
    assert fingerprint(*files[:2]) == fingerprint(files[2], files[1]) != fingerprint(*files[1::-1])
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "none")


def test_settings_are_noted_once_and_others_refused(tmp_path):
    file = tmp_path / "settings.json"
    check_origin(file, {"a": (1, 2), "b": None})
    check_origin(file, {"a": [1, 2], "b": None})
    with pytest.raises(ValueError, match=r"holds results of other settings \(b differ\)"):
        check_origin(file, {"a": [1, 2], "b": 0})
    check_origin(file, {"b": 0}, overwrite=True)
    assert json.loads(file.read_text()) == {"b": 0}
    file.write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json: no record of settings"):
        check_origin(file, {})


def test_a_state_is_of_its_plan_alone(tmp_path):
    state = State(tmp_path / "state.json", "a search", {"grid": (1, 2)})
    taken = []
    state.load(taken.append)
    assert not taken
    state.save({"done": 3})
    state.load(taken.append)
    assert taken == [{"plan": {"grid": [1, 2]}, "done": 3}]
    with pytest.raises(ValueError, match=r"the state of another search \(grid differ\)"):
        State(state.file, "a search", {"grid": 3}).load(taken.append)
    with pytest.raises(ValueError, match="no state of a search, or a damaged one"):
        state.load(lambda content: content["missing"])
    state.file.write_text("{")
    with pytest.raises(ValueError, match="no state of a search, or a damaged one"):
        state.load(taken.append)


ROWS = [{"name": "a", "n": [1, 2]}, {"name": "b", "text": "\u00e9 }"}, {"name": "c", "n": [10, 0.1]}]


def test_a_journal_cut_off_anywhere_loses_the_last_row_alone(tmp_path):
    """Cut at every byte of the last line, then gone on with."""
    journal = Journal(tmp_path / "journal.jsonl")
    assert list(journal.rows()) == []
    for row in ROWS[:2]:
        journal.add(row)
    begun = journal.file.stat().st_size
    journal.add(ROWS[2])
    whole = journal.file.read_bytes()
    assert whole == b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    for length in range(begun, len(whole) + 1):
        journal.file.write_bytes(whole[:length])
        read = [row for _, row in journal.rows()]
        # Without its newline a row is whole all the same.
        assert read == (ROWS if length >= len(whole) - 1 else ROWS[:2])
        journal.add({"name": "d"})
        assert [row for _, row in journal.rows()] == [*read, {"name": "d"}]


def test_lines_that_are_no_objects_are_passed_over_and_keep_their_numbers(tmp_path):
    file = tmp_path / "rows"
    file.write_bytes(b'\n{"a": 1}\n[2]\n"x"\n\xff{}\n{"b": N\n{"c": NaN}')
    rows = list(read_rows(file))
    assert [number for number, _ in rows] == [2, 7]
    assert [[*row] for _, row in rows] == [["a"], ["c"]]


def test_results_are_done_while_they_and_what_they_came_from_are_the_same(tmp_path):
    file, source, results = tmp_path / "notes", tmp_path / "source", [tmp_path / "r.png", tmp_path / "r.bin"]
    source.write_text("1")
    notes = Notes(file)
    notes.add(results, source)
    assert not notes.done(results, source)
    for result in results:
        result.touch()
    again = Notes(file)
    assert again.done(results, source)
    assert not again.done([*results, source], source)
    source.write_text("2")
    assert not again.done(results, source)
    again.add(results[:1], source)
    assert Notes(file).done(results[:1], source)
    assert not Notes(file).done(results, source)


def test_counts_of_all_processes_are_known_to_each(tmp_path):
    shape = (2, 3)
    counts = np.array([[0, 5, 0], [7, 0, 0]])
    CountedImages(tmp_path, 0, shape).add("a", "digest", counts)
    other = CountedImages(tmp_path, 1, shape)
    other.add("b", "", np.zeros(shape, np.int64))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["counts.0.jsonl", "counts.1.jsonl"]
    noted = CountedImages(tmp_path, 0, shape)
    np.testing.assert_array_equal(noted.known("a", "digest"), counts)
    np.testing.assert_array_equal(noted.known("b", ""), np.zeros(shape))
    assert noted.known("a", "other digest") is None
    with pytest.raises(ValueError, match=r"counts\.0\.jsonl:1: no counts of an image"):
        CountedImages(tmp_path, 0, (1, 2))
