"""The catalog itself: its entries against the zoo's nets and the published numbers."""

import pytest

from deeplab_repro import zoo
from deeplab_repro.catalog import read_catalog
from deeplab_repro.crf.presets import PRESETS
from deeplab_repro.verify import read_published

CATALOG = read_catalog()
RELEASED = [name for name, entry in CATALOG.entries.items() if entry.released]


@pytest.mark.parametrize("name", CATALOG.entries)
def test_entry_names_things_that_exist(name):
    entry = CATALOG.entry(name)
    published = {record.id: record for record in read_published().records}
    assert not entry.model or entry.model in zoo.VARIANTS
    assert entry.classes in zoo.DATASETS
    assert not entry.crf or entry.crf in PRESETS
    for row in entry.reproduces:
        assert published[row].weights in ("", name)
    assert entry.recipe if not entry.released else entry.file
    assert all(url.startswith("http") for url in entry.urls)
    assert entry.member or not any(url.endswith(".zip") for url in entry.urls)


def test_every_score_has_weights_in_the_catalog_that_list_it():
    for record in read_published().records:
        if record.check == "data":
            entry = CATALOG.entry(record.weights)
            assert record.id in entry.reproduces or record.series, record.id


def test_unknown_names_and_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"v1_largefv: not in the catalog.*v1_largefov"):
        CATALOG.entry("v1_largefv")
    text = '[preprocessing]\nmean_bgr = [1, 2, 3]\n[[file]]\nname = "a"\n'
    for more, word in (("colour = 1", "'colour'"), ('requires = "some"', "requires"), ('[[own]]\nname = "a"', "twice")):
        (tmp_path / "c.toml").write_text(text + more)
        with pytest.raises(ValueError, match=rf"c\.toml: entry a: .*{word}"):
            read_catalog(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text('[[file]]\ndialect = "v1"')
    with pytest.raises(ValueError, match=r"c\.toml: entry without name: name is missing"):
        read_catalog(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text("[")
    with pytest.raises(ValueError, match=r"c\.toml: not TOML"):
        read_catalog(tmp_path / "c.toml")
