"""Data layers over LMDB databases that are written here, record by record."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch

from deeplab_repro.data.feeds.caffe_rng import CaffeRng
from deeplab_repro.data.feeds.feeds import open_feeds
from prototxt_import import CaffeFormatError, parse_net, schema

lmdb = pytest.importorskip("lmdb")

RANDOM = np.random.default_rng(5)
PIXELS = RANDOM.integers(0, 256, (5, 3, 6, 7), np.uint8)
LABELS = [3, 1, 4, 1, -5]


def datum(values, label, **fields):
    if values.dtype == np.uint8:
        fields["data"] = values.tobytes()
    else:
        fields["float_data"] = values.flatten().tolist()
    channels, height, width = values.shape
    return {"channels": channels, "height": height, "width": width, "label": label, **fields}


def encoded(values, label, suffix=".png"):
    _, data = cv2.imencode(suffix, values.transpose(1, 2, 0) if len(values) > 1 else values[0])
    return {"data": data.tobytes(), "label": label, "encoded": True}


@pytest.fixture
def database(tmp_path):
    """database(records) writes tmp_path/db; database.net(data_param="", more="", v1=False) is a net that reads it."""

    def write(records=None, name="db"):
        records = (
            [datum(values, label) for values, label in zip(PIXELS, LABELS, strict=True)] if records is None else records
        )
        message = schema.message("bvlc", "Datum")
        with lmdb.open(str(tmp_path / name), map_size=2**24) as opened, opened.begin(write=True) as transaction:
            # Written backwards: the keys give the order.
            for index, fields in reversed(list(enumerate(records))):
                value = fields if isinstance(fields, bytes) else message(**fields).SerializeToString()
                transaction.put(b"%08d" % index, value)

    def net(data="", more="", phase="TEST", v1=False, batch=2, tops='top: "data" top: "label"', dialect="auto"):
        head = "layers { type: DATA" if v1 else 'layer { type: "Data"'
        text = (
            f'{head} name: "d" {tops} {more} data_param {{ source: "db" backend: LMDB batch_size: {batch} {data} }} }}'
        )
        return parse_net(text, str(tmp_path / "net.prototxt"), phase=phase, dialect=dialect)

    write.net, write.folder = net, tmp_path
    return write


def batches(spec, count, seed=1, **options):
    with open_feeds(spec, seed, **options) as feeds:
        return [feeds.next() for _ in range(count)]


def test_records_come_in_the_order_of_keys_and_begin_anew_after_the_last(database):
    database()
    read = batches(database.net(), 5)
    np.testing.assert_array_equal(torch.cat([batch["data"] for batch in read]), np.concatenate([PIXELS, PIXELS]))
    assert torch.cat([batch["label"] for batch in read]).tolist() == LABELS * 2
    assert read[0]["label"].shape == (2,)
    assert set(batches(database.net(tops='top: "data"'), 1)[0]) == {"data"}


def test_labels_have_four_axes_in_v1(database):
    database()
    assert batches(database.net(v1=True, dialect="v1"), 1)[0]["label"].shape == (2, 1, 1, 1)


def test_floats_and_encoded_pictures(database):
    floats = RANDOM.normal(size=(2, 4, 5)).astype(np.float32)
    grey = PIXELS[0, :1]
    database([datum(floats, 7), encoded(PIXELS[1], 8), encoded(grey, 9)])
    read = batches(database.net(batch=1), 3)
    for got, expected in zip(read, (floats, PIXELS[1], grey), strict=True):
        np.testing.assert_array_equal(got["data"][0], expected)
    assert [batch["label"].item() for batch in read] == [7, 8, 9]
    colour = batches(database.net(batch=1, more="transform_param { force_color: true }"), 3)
    np.testing.assert_array_equal(colour[2]["data"][0], np.repeat(grey, 3, 0))
    assert batches(database.net(batch=1, more="transform_param { force_gray: true }"), 2)[1]["data"].shape[1] == 1
    jpeg = encoded(np.full((3, 8, 8), 90, np.uint8), 0, ".jpg")
    database([jpeg])
    np.testing.assert_allclose(batches(database.net(batch=1), 1)[0]["data"], 90, atol=1)


def test_transforms_are_caffe_s(database):
    database()
    transform = "mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5 crop_size: 4"
    mean = np.float32([1, 2, 3])[:, None, None]
    [centre] = batches(database.net(more=f"transform_param {{ {transform} }}"), 1)
    np.testing.assert_array_equal(centre["data"], (PIXELS[:2, :, 1:5, 1:5] - mean) * np.float32(0.5))
    spec = database.net(more=f"transform_param {{ {transform} mirror: true }}", phase="TRAIN")
    read = torch.cat([batch["data"] for batch in batches(spec, 4, seed=9)])
    # Set-up draws a seed that is thrown away, then the transformer's; an item mirror, row, column.
    process = CaffeRng(9)
    process.next()
    draws = CaffeRng(process.next())
    mirrored = set()
    for i, got in enumerate(read):
        mirror, row, column = draws.next() % 2, draws.next() % 3, draws.next() % 4
        expected = (PIXELS[i % 5, :, row : row + 4, column : column + 4] - mean) * np.float32(0.5)
        np.testing.assert_array_equal(got, expected[..., ::-1] if mirror else expected)
        mirrored.add(mirror)
    assert mirrored == {0, 1}


def test_a_mean_image_is_subtracted_where_the_crop_lies(database):
    database()
    mean = RANDOM.normal(size=(3, 6, 7)).astype(np.float32)
    blob = schema.message("bvlc", "BlobProto")(num=1, channels=3, height=6, width=7, data=mean.flatten().tolist())
    (database.folder / "mean.binaryproto").write_bytes(blob.SerializeToString())
    [batch] = batches(database.net(more='transform_param { mean_file: "mean.binaryproto" crop_size: 4 }'), 1)
    np.testing.assert_array_equal(batch["data"], (PIXELS[:2] - mean)[..., 1:5, 1:5])
    database([datum(PIXELS[0, :2], 1)] * 5)
    with pytest.raises(CaffeFormatError, match=r"data.mdb, key '00000000': 6 x 7 pixels of 2 channels, mean_file"):
        open_feeds(database.net(more='transform_param { mean_file: "mean.binaryproto" }'))


def test_rand_skip_counts_in_the_forks_that_look_at_it(database):
    database()
    skipped = CaffeRng(3).next() % 4
    assert skipped
    for dialect in ("v1", "segnet"):
        [batch] = batches(database.net("rand_skip: 4", v1=dialect == "v1", dialect=dialect), 1, seed=3)
        assert batch["label"].flatten()[0] == LABELS[skipped]
    assert batches(database.net("rand_skip: 4", dialect="bvlc"), 1, seed=3)[0]["label"][0] == LABELS[0]


def test_state_leads_to_the_same_batches_and_ranks_share_a_batch(database):
    database()
    spec = database.net(more="transform_param { crop_size: 4 mirror: true }", phase="TRAIN")
    with open_feeds(spec, 4) as feeds, open_feeds(spec, 99) as other:
        feeds.next(), feeds.next()
        state = json.loads(json.dumps(feeds.state_dict()))
        expected = [feeds.next() for _ in range(3)]
        other.load_state_dict(state)
        for batch in expected:
            got = other.next()
            assert all(torch.equal(got[name], batch[name]) for name in batch)
    parts = [batches(spec, 3, seed=4, rank=rank, world=2) for rank in range(2)]
    for whole, *halves in zip(batches(spec, 3, seed=4), *parts, strict=True):
        assert torch.equal(torch.cat([half["data"] for half in halves]), whole["data"])
    database([datum(PIXELS[0], 1)], "other")
    other = 'layer { type: "Data" name: "d" top: "data" data_param { source: "other" backend: LMDB batch_size: 1 } }'
    with (
        open_feeds(parse_net(other, str(database.folder / "net.prototxt"))) as feeds,
        pytest.raises(ValueError, match=r"is not the database that the saved state is of \(1 records, that has 5\)"),
    ):
        feeds.load_state_dict(state)


def test_leveldb_is_refused_with_what_to_do(database):
    for backend in ("", "backend: LEVELDB"):
        text = f'layer {{ type: "Data" name: "d" top: "data" data_param {{ source: "db" batch_size: 1 {backend} }} }}'
        with pytest.raises(CaffeFormatError, match=r"net.prototxt:1: layer 'd' \(Data\): backend is LEVELDB.*LMDB"):
            open_feeds(parse_net(text, str(database.folder / "net.prototxt")))


def test_a_leveldb_folder_that_is_called_lmdb_is_told(database):
    (database.folder / "db").mkdir()
    (database.folder / "db" / "CURRENT").write_text("MANIFEST-000002\n")
    with pytest.raises(CaffeFormatError, match=r"net.prototxt:1: layer 'd' \(Data\): db is a LevelDB database, .*LMDB"):
        open_feeds(database.net())


def test_what_is_damaged_is_told_with_file_and_key(database):
    good = datum(PIXELS[0], 1)
    cases = [
        (schema.message("bvlc", "Datum")(**good).SerializeToString()[:-3], "truncated"),
        ({**good, "data": b"abc"}, r"holds 3 bytes, its shape \[3, 6, 7\] \(channels, height, width\) takes 126"),
        ({**good, "height": -6}, r"impossible shape \[3, -6, 7\]"),
        ({"encoded": True, "data": b"no picture"}, "no image that can be read"),
        ({"encoded": True, "data": encoded(PIXELS[0], 1)["data"][:60]}, "cut short"),
        ({"encoded": True}, "holds no picture"),
        (
            datum(PIXELS[0, :, :5], 1),
            "5 x 7 pixels of 3 channels in a batch of 6 x 7 pixels of 3 channels; give crop_size",
        ),
    ]
    for bad, words in cases:
        database([good, bad])
        with (
            open_feeds(database.net()) as feeds,
            pytest.raises(CaffeFormatError, match=rf"db/data.mdb, key '00000001': .*{words}"),
        ):
            feeds.next()
    database([good, datum(PIXELS[0, :, :5], 1)])
    with (
        open_feeds(database.net(more="transform_param { crop_size: 6 }")) as feeds,
        pytest.raises(
            CaffeFormatError, match="key '00000001': 5 x 7 pixels of 3 channels are fewer than the crop's 6 x 6"
        ),
    ):
        feeds.next()


def test_a_database_that_is_cut_short_or_none_is_told(database):
    database()
    file = database.folder / "db" / "data.mdb"
    data = file.read_bytes()
    for content, words in ((data[:-4096], "is cut short"), (b"no database" * 999, "no LMDB database"), (b"", "LMDB")):
        file.write_bytes(content)
        with pytest.raises(CaffeFormatError, match=rf"data.mdb: .*{words}"):
            open_feeds(database.net())
    spoiled = bytearray(data)
    # The keys' page is no page any more.
    for page in range(2, len(data) // 4096):
        spoiled[page * 4096 + 10] = 0x40
    file.write_bytes(bytes(spoiled))
    with pytest.raises(CaffeFormatError, match=r"data.mdb: .*is damaged at its first record"):
        open_feeds(database.net())
    file.unlink()
    with pytest.raises(CaffeFormatError, match=r"'db/data.mdb': there is no such file"):
        open_feeds(database.net())


def test_without_the_lmdb_package_the_error_says_what_to_install(database, monkeypatch):
    database()
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(CaffeFormatError, match="`pip install lmdb`"):
        open_feeds(database.net())


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("scale_factors: 0.5", "scale_factors"),
        ("force_color: true force_gray: true", "force_color and force_gray"),
        ("mean_value: 1 mean_value: 2", "2 mean_value"),
        ('mean_value: 1 mean_file: "m"', "mean_file and mean_value"),
    ],
)
def test_options_caffe_refuses_are_refused(database, transform, words):
    database()
    with pytest.raises(CaffeFormatError, match=words):
        open_feeds(database.net(more=f"transform_param {{ {transform} }}"))
