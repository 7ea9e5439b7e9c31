"""Lists of files."""

import pytest

from deeplab_repro.files.lists import read_pairs


def test_lines_keep_their_numbers_and_blank_ones_are_passed_over(tmp_path):
    (tmp_path / "list").write_text("a.png a_label.png\n\n  \nb.png\tb_label.png more\n")
    assert read_pairs(tmp_path / "list") == [
        (1, ["a.png", "a_label.png"]),
        (4, ["b.png", "b_label.png", "more"]),
    ]


def test_unfit_lists_are_named_with_the_line(tmp_path):
    file = tmp_path / "list"
    with pytest.raises(FileNotFoundError):
        read_pairs(file)
    for content, words in ((b"", "list: the list is empty"), (b"\xff\xfe", "list: not a text file"),
                           (b"a b\n\nc\n", "list:3: a line holds an image and its label, found 'c'")):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_pairs(file)
    assert read_pairs(file, 1) == [(1, ["a", "b"]), (3, ["c"])]
