"""The published numbers against the lists they were taken from, and the file's own rules."""

import csv

import pytest

from deeplab_repro.crf.presets import PRESETS
from deeplab_repro.verify import read_published
from deeplab_repro.verify.records import CHECKS
from tests.paths import SHARED

REFERENCE = SHARED / "reference"
needs_lists = pytest.mark.skipif(not REFERENCE.exists(), reason="needs ../shared/reference")
PUBLISHED = read_published()
BY_ID = {record.id: record for record in PUBLISHED.records}


def _rows(name):
    with (REFERENCE / name).open(newline="") as file:
        return list(csv.DictReader(file))


@needs_lists
def test_every_listed_number_is_a_record():
    for row in _rows("published.csv"):
        record = BY_ID[row["id"]]
        assert record.value == float(row["value"]), row["id"]
        assert record.unit == row["unit"]
        assert record.backbone == row["backbone"].replace("-", "", row["backbone"] == "-")
        assert record.model == row["model"]


@needs_lists
def test_every_point_of_the_boundary_curves_is_a_record():
    names = {"pixelIOU": "trimap_mIoU", "pixelAcc": "trimap_pixel_acc", "classAcc": "trimap_class_acc"}
    values = {(r.model, r.metric, r.width): r.value for r in PUBLISHED.records if r.width}
    rows = _rows("published_trimap.csv")
    assert len(rows) == len(values) == 480
    for row in rows:
        key = row["model"], names[row["metric"]], int(row["band_halfwidth_px"])
        assert values[key] == float(row["value_percent"])


def test_points_of_curves_keep_their_ids_in_the_list():
    assert [BY_ID[name].width for name in ("R110", "R112", "R116", "T01.03")] == [1, 5, 40, 3]


def test_conflicting_figures_stand_side_by_side():
    assert (BY_ID["R046"].value, BY_ID["R049"].value) == (65.88, 65.76)
    assert BY_ID["R046"].conflict == ("R049",)
    assert BY_ID["R049"].conflict == ("R046",)


def test_crf_settings_are_rows_of_their_own():
    settings = {record.of for record in PUBLISHED.records if record.paper == "crf"}
    # The defaults of the older program are a preset whose row the published settings lack.
    assert settings == set(PRESETS) - {"prog_refine_pascal"}
    assert BY_ID["CRF.v1_largefov.bilateral_xy_std"].value == 121


@pytest.mark.parametrize("check", CHECKS)
def test_records_say_what_checking_them_takes(check):
    records = [record for record in PUBLISHED.records if record.check == check]
    assert records
    for record in records:
        assert bool(record.weights) == (check == "data"), record.id
        assert bool(record.quantity) == (check in ("here", "timing", "gpu")), record.id
        assert bool(record.why) == (check == "never"), record.id
        assert record.tolerance > 0 or check != "data", record.id
        assert record.evidence, record.id
        assert check != "data" or record.split in PUBLISHED.images[record.dataset], record.id


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("{ id = 'a', model = 'm', metric = 'x', value = 1, check = 'maybe' }", "row a: check is 'maybe'"),
        ("{ id = 'a', model = 'm', metric = 'x', check = 'here' }", "row a: value is missing"),
        ("{ id = 'a', model = 'm', metric = 'x', value = 1, check = 'here', hue = 2 }", "row a: unknown field 'hue'"),
        ("{ id = 'a', model = 'm', metric = 'x', value = 1, check = 'data' }", "row a: a score needs"),
        (
            "{ id = 'a', model = 'm', metric = 'x', value = 1, check = 'here', conflict = ['b'] }",
            "'b', which is no row",
        ),
    ],
)
def test_malformed_rows_are_named(tmp_path, row, word):
    (tmp_path / "p.toml").write_text(f"[[table]]\npaper = 'v1'\nsource = 's'\nrows = [{row}]\n")
    with pytest.raises(ValueError, match=rf"p\.toml: .*{word}"):
        read_published(tmp_path / "p.toml")


def test_doubled_ids_and_broken_files_are_named(tmp_path):
    row = "{ id = 'a', model = 'm', metric = 'x', value = 1, check = 'here' }"
    (tmp_path / "p.toml").write_text(f"[[table]]\npaper = 'v1'\nsource = 's'\nrows = [{row}, {row}]\n")
    with pytest.raises(ValueError, match="row a: the id is used twice"):
        read_published(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_text("[[table")
    with pytest.raises(ValueError, match=r"p\.toml: not TOML"):
        read_published(tmp_path / "p.toml")
