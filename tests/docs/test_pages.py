"""Blocks of Markdown pages: what is found, run and refused."""

from types import SimpleNamespace

import pytest

from tests.docs.pages import blocks, commands, run, verbs

FENCE = "```"


def page_of(tmp_path, language, text):
    page = tmp_path / "page.md"
    page.write_text(f"words\n\n{FENCE}{language}\n{text}{FENCE}\n", "utf-8")
    return page


def echo(*words):
    return SimpleNamespace(exit_code=int("fail" in words), output=" ".join(words) + "\n")


def test_commands_and_their_output_are_told_apart(tmp_path):
    (block,) = blocks(page_of(tmp_path, "console", "$ deeplab a \\\n    b\nfirst\n$ deeplab c\n"))
    assert block.line == 3
    assert list(commands(block)) == [(["deeplab", "a", "b"], "first\n"), (["deeplab", "c"], "")]


def test_verbs_of_commands_in_one_line(tmp_path):
    (block,) = blocks(page_of(tmp_path, "sh", "deeplab a -o x && deeplab b  # why\ntorchrun -- deeplab c\nls\n"))
    assert list(verbs(block)) == [["a", "-o", "x"], ["b"], ["c"]]


def test_other_output_or_exit_code_fails(tmp_path):
    assert run(page_of(tmp_path, "console", "$ deeplab a b\na ...\n"), echo) == 1
    with pytest.raises(AssertionError, match=r"page\.md:3: prints something else"):
        run(page_of(tmp_path, "console", "$ deeplab a b\na c\n"), echo)
    with pytest.raises(AssertionError, match=r"page\.md:3: deeplab fail"):
        run(page_of(tmp_path, "console", "$ deeplab fail\n"), echo)
    with pytest.raises(AssertionError, match="prints something else"):
        run(page_of(tmp_path, "python", "print(1)\n"), echo)
