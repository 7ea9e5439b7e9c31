"""What verbs print: tables, notes, JSON, progress."""

import json

import numpy as np
import pytest

from deeplab_repro.cli import output


def test_json_has_no_nan_and_goes_where_asked(tmp_path, capsys):
    answer = {"a": float("nan"), "b": (1, 2.5), "c": tmp_path}
    assert output.write_json(answer, None)
    assert output.write_json(answer, str(tmp_path / "a.json"))
    assert not output.write_json(answer, "-")
    expected = {"a": None, "b": [1, 2.5], "c": str(tmp_path)}
    assert json.loads((tmp_path / "a.json").read_text()) == json.loads(capsys.readouterr().out) == expected


def test_progress_is_quiet_when_not_on_a_terminal(capfd):
    assert list(output.progress([1, 2], "counting")) == [1, 2]
    assert capfd.readouterr().err == ""


def test_a_table_in_a_pipe_is_not_folded_and_takes_text_as_it_is(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    output.console().print(output.table(("name", "value"), [("[b]x[/b] " + "y" * 100, 5)], left=("name",), title="t"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "t"
    assert any("[b]x[/b] " + "y" * 100 in line and line.rstrip().endswith("5") for line in lines)


def test_notes_go_to_standard_error(capsys):
    output.print_notes(["one thing", "another"])
    assert capsys.readouterr() == ("", "note: one thing\nnote: another\n")


def test_shapes_in_words():
    assert output.shape_text((1, 3, 321, 321)) == "1 x 3 x 321 x 321"
    assert output.shape_text(()) == "-"


def test_json_takes_arrays_and_refuses_what_has_no_form(tmp_path):
    output.write_json({1: np.float32([0.5, np.inf])}, str(tmp_path / "a.json"))
    assert json.loads((tmp_path / "a.json").read_text()) == {"1": [0.5, None]}
    with pytest.raises(TypeError, match="no JSON form for object"):
        output.write_json(object(), "-")


def test_a_json_file_that_cannot_be_written_is_told_before_the_work(tmp_path):
    for target in (None, "-", str(tmp_path / "a.json")):
        output.check_json(target)
    with pytest.raises(OSError, match=r"none.*(no such folder|does not exist|No such file)"):
        output.check_json(str(tmp_path / "none" / "a.json"))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_tables_keep_names_whole_while_there_is_room_and_never_pass_the_terminals_width(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [("expanded_conv/depthwise", "Convolution", "1 x 3 x 321 x 321", 12345), ("fc8", "Interp", "-", 7)]
    output.console().print(output.table(("layer", "type", "shape", "count"), rows, left=("layer", "type", "shape")))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    whole = [name for name in ("expanded_conv/depthwise", "Convolution") if any(name in line for line in lines)]
    assert len(whole) == (2 if width >= 80 else len(whole))
    assert width < 160 or len([line for line in lines if line.strip()]) == 4
