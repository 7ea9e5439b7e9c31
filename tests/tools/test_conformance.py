"""Every row of docs/conformance.md names a test that exists; a wrong name planted into a copy of the page is found."""

import pytest

from tests.paths import ROOT
from tests.tools import conformance

PAGE = (ROOT / conformance.PAGE).read_text()


def test_every_fact_names_a_test_that_exists(capsys):
    code = conformance.main([])
    assert code == 0, capsys.readouterr().out
    assert {row.section for row in conformance.read_rows(PAGE)} == {"Caffe", "Dense CRF", "Sibling forks"}


@pytest.mark.parametrize(
    ("held_by", "complaint"),
    [
        ("`tests/tools/test_conformance.py::test_nothing`", "no test test_nothing in tests/tools/test_conformance.py"),
        ("`tests/tools/conformance.py::read_rows`", "no test read_rows in tests/tools/conformance.py"),
        ("`tests/tools/test_lost.py::test_nothing`", "no file tests/tools/test_lost.py"),
        ("`tests/cpp/crf/test_lattice.cpp::Lattice.Lost`", "no test Lattice.Lost in tests/cpp/crf/test_lattice.cpp"),
        (
            "`tests/tools/test_conformance.py::test_every_fact_names_a_test_that_exists` (`layers/v2/lost`)",
            "no recording tests/golden/layers/v2/lost",
        ),
        ("nothing", "no test: water is wet"),
    ],
)
def test_a_planted_wrong_id_is_found(tmp_path, capsys, held_by, complaint):
    for folder in ("tests", "docs"):
        (tmp_path / folder).mkdir()
    for name in ("tools", "cpp"):
        (tmp_path / "tests" / name).symlink_to(ROOT / "tests" / name)
    head = "## Caffe\n\n| fact | held by |\n|---|---|\n"
    (tmp_path / conformance.PAGE).write_text(f"{head}| water is wet | {held_by} |\n")
    assert conformance.main(["--root", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"{conformance.PAGE}:5: {complaint}" in said
    assert "Caffe: 1 facts" in said


def test_a_row_with_a_bar_too_many_is_refused():
    with pytest.raises(ValueError, match=r"conformance\.md:2: 3 cells"):
        conformance.read_rows("## Caffe\n| a | b | c |")
