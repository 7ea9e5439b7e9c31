"""Files that are small and ask for much: each is refused with one line, quickly and without memory to speak of."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from prototxt_import import CaffeFormatError, parse_net, read_net, read_weights
from prototxt_import.binary.wire import encode_bytes, encode_key, encode_varint
from prototxt_import.paths import named_file

HEAD = 'input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'
MIB = 2**20


@contextmanager
def quick(seconds=10.0):
    """Fails where the block takes longer: every case here is made to take minutes if anything is done twice over."""
    begin = time.perf_counter()
    yield
    assert time.perf_counter() - begin < seconds


@contextmanager
def lean(mib):
    """Fails where the block takes more memory at its peak."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mib * MIB


def refused(text):
    with quick(), pytest.raises(CaffeFormatError) as caught:
        parse_net(text, "net.prototxt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 1000
    return str(caught.value)


def conv(fields):
    return f'{HEAD}layer {{ name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param {{ {fields} }} }}'


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ("num_output: 4000000000 kernel_size: 1", "more than 2147483647 elements"),
        ("num_output: 1 kernel_size: 1 pad: 2000000000", "with pad .* more than 2147483647"),
        ("num_output: 1 kernel_size: 2000000000 pad: 1000000000 stride: 1000", "with pad .* more than 2147483647"),
        ("num_output: 1 kernel_size: 4000000000", "too small"),
        ("num_output: 1 kernel_size: 3 dilation: 4000000000", "too small"),
        ("num_output: 99999999999 kernel_size: 3", "num_output|range"),
    ],
)
def test_absurd_windows_are_refused(fields, word):
    import re

    assert re.search(word, refused(conv(fields)))


def test_pooling_over_absurd_padding_is_refused():
    pool = 'layer { name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { %s } }'
    fields = "kernel_size: 2000000001 pad: 2000000000 stride: 2000000000"
    assert "more than 2147483647" in refused(HEAD + pool % fields)


@pytest.mark.parametrize("count", [33, 50_000])
def test_blobs_of_too_many_axes_are_refused(count):
    dims = "dim: 2147483647 " * count
    assert "axes" in refused(f'input: "x" input_shape {{ {dims} }} layer {{ name: "r" type: "ReLU" bottom: "x" }}')
    reshape = f'layer {{ name: "r" type: "Reshape" bottom: "x" top: "y" reshape_param {{ shape {{ {dims} }} }} }}'
    assert "axes" in refused(HEAD + reshape)


@pytest.mark.parametrize(
    "text",
    [
        'a: "' + '\\"' * 300_000,
        "'" * 600_001,
        '"' + "x" * 600_000,
        "{" * 600_000,
        "a{}" * 100_000,
        "<" * 10 + "9" * 600_000,
        "#" * 600_000,
        "\n" * 600_000,
        "a:" * 300_000,
    ],
    ids=["escapes", "quotes", "string", "braces", "messages", "digits", "comment", "lines", "colons"],
)
def test_text_without_end_is_refused_in_one_pass(text):
    refused(text)


def test_template_variables_without_number_are_told_in_one_pass(tmp_path):
    path = tmp_path / "net.prototxt"
    for text in ("${A}" * 200_000, "".join(f"${{V{i}}}" for i in range(60_000)), '"${A}\\"' * 100_000):
        path.write_text(text)
        with quick(), pytest.raises(CaffeFormatError, match=r"net.prototxt:1: .*V?A?"):
            read_net(path)


def test_many_unknown_types_are_told_in_one_line():
    layers = (f'layer {{ name: "n{i}" type: "Unknown{i}" foo_param {{}} }}\n' for i in range(5_000))
    assert "unknown layer types: Unknown0" in refused(HEAD + "".join(layers))


def test_a_wrong_name_among_many_is_told_quickly():
    layers = (f'layer {{ name: "n{i}" type: "ReLU" bottom: "x" top: "blob{i}" }}\n' for i in range(5_000))
    with quick(20), pytest.raises(CaffeFormatError, match="'blub7'"):
        parse_net(HEAD + "".join(layers) + 'layer { name: "l" type: "ReLU" bottom: "blub7" top: "z" }')


def test_files_larger_than_any_prototxt_are_not_parsed(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b" " * (4 * MIB + 1))
    with quick(1), lean(20), pytest.raises(CaffeFormatError, match="larger than 4 MiB"):
        read_net(path)
    with pytest.raises(CaffeFormatError, match="larger than 4 MiB"):
        parse_net(" " * (4 * MIB + 1))


def layer_bytes(*pieces):
    blob = b"".join(encode_bytes(7, b"".join(pieces)))
    return b"".join(encode_bytes(100, b"".join(encode_bytes(1, b"c")), blob))


def fixed(number, value=1.0):
    return encode_key(number, 5) + np.float32(value).tobytes()


def refused_model(path, content, seconds=10.0):
    path.write_bytes(content)
    with quick(seconds), pytest.raises(CaffeFormatError) as caught:
        read_weights(path)
    return str(caught.value)


def test_runs_of_unpacked_numbers_that_are_cut_up_take_linear_time(tmp_path):
    pair = fixed(5) + encode_key(1, 0) + b"\x01"
    assert "numbers, not" in refused_model(tmp_path / "m.caffemodel", layer_bytes(pair * 100_000))


def test_a_model_of_unpacked_numbers_alone_is_read_whole(tmp_path):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(layer_bytes(fixed(5, 2.5) * 3_000_000))
    with quick(5), lean(60):
        (blob,) = read_weights(path)["c"]
    assert blob.shape == (3_000_000,)
    assert bool((blob == 2.5).all())


def test_models_of_tiny_fields_and_of_many_axes_are_refused(tmp_path):
    path = tmp_path / "m.caffemodel"
    assert "fields; that is no Caffe model" in refused_model(path, encode_bytes(1, b"")[0] * 600_000, 20)
    one = b"".join(encode_bytes(7, encode_key(1, 0) + b"\x7f"))
    assert "more than 32 axes" in refused_model(path, layer_bytes(one * 100_000))
    packed = b"".join(encode_bytes(7, b"".join(encode_bytes(1, b"\x7f" * 1000))))
    assert "more than 32 axes" in refused_model(path, layer_bytes(packed))


def test_declared_lengths_allocate_nothing(tmp_path):
    path = tmp_path / "m.caffemodel"
    long = encode_key(100, 2) + encode_varint(2**40) + b"\x00" * 100
    assert "declares 1099511627776 bytes, 100 are left" in refused_model(path, long)
    dims = b"".join(encode_bytes(7, encode_key(1, 0) + encode_varint(2**31 - 1)))
    assert "has 1 numbers, not 2147483647" in refused_model(path, layer_bytes(dims, fixed(5)))


h5py = pytest.importorskip("h5py")


def test_hdf5_links_and_foreign_data_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data/c/0"] = np.ones(3, "f4")
    cases = {
        "external link": lambda file: file.create_group("data").__setitem__(
            "c", h5py.ExternalLink("other.h5", "/data/c")
        ),
        "soft link": lambda file: file.create_group("data").__setitem__("c", h5py.SoftLink("/elsewhere")),
        "whole data": lambda file: file.__setitem__("data", h5py.ExternalLink("other.h5", "/data")),
        "external file": lambda file: file.create_dataset(
            "data/c/0", (3,), "f4", external=[(str(tmp_path / "other.h5"), 0, 12)]
        ),
    }
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "data/c/0", (3,))
    cases["virtual"] = lambda file: file.create_virtual_dataset("data/c/0", layout)
    for name, write in cases.items():
        path = tmp_path / f"{name}.caffemodel.h5"
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(CaffeFormatError, match=r"links are not followed|stored in another file"):
            read_weights(path)


def test_hdf5_arrays_larger_than_their_file_are_refused(tmp_path):
    for name, options in (("unwritten", {}), ("compressed", {"compression": "gzip", "chunks": (MIB,)})):
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data/c/0", (2**28,), "f4", **options)
            if options:
                data[: 4 * MIB] = 0
        with quick(5), lean(20), pytest.raises(CaffeFormatError, match="more than the file can hold"):
            read_weights(path)


def test_hdf5_of_endless_groups_is_refused(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("data")
        group["again"] = group
    with quick(), pytest.raises(CaffeFormatError, match="nest deeper than 32"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file["data/c/many"] = np.ones(3, "f4")
    with pytest.raises(CaffeFormatError, match="'c/many' is no numbered blob"):
        read_weights(path)


def test_named_files_are_looked_up_in_the_users_folders_only(tmp_path, monkeypatch):
    inner, here = tmp_path / "nets", tmp_path / "here"
    inner.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in (inner, here, tmp_path):
        (folder / f"{folder.name}.txt").write_text("1")
    source = str(inner / "net.prototxt")
    assert named_file("nets.txt", source) == inner / "nets.txt"
    assert named_file("here.txt", source) == here / "here.txt"
    assert named_file(str(inner / "nets.txt"), source) == inner / "nets.txt"
    for outside in ("/etc/hostname", f"../{tmp_path.name}.txt", "../nets/../../x", str(tmp_path)):
        with pytest.raises(CaffeFormatError, match="lies outside the folder"):
            named_file(outside, source)
    for absent in ("no.txt", ".", "", "a\0b"):
        with pytest.raises(CaffeFormatError, match=r"no such file|cannot be looked up"):
            named_file(absent, source)


def test_folders_the_user_names_are_looked_up_too_and_no_name_leads_out_of_them(tmp_path, monkeypatch):
    nets, data = tmp_path / "nets", tmp_path / "data"
    for folder in (nets, data):
        folder.mkdir()
        (folder / "list.txt").write_text("1")
    monkeypatch.chdir(nets)
    (tmp_path / "secret.txt").write_text("1")
    source = str(nets / "net.prototxt")
    assert named_file(f"{data}/list.txt", source, [str(data)]) == data / "list.txt"
    assert named_file("../data/list.txt", source, ["21", "../data/"]) == data / "list.txt"
    for outside in (f"{data}/../secret.txt", f"{data}/../../etc/hostname", "../secret.txt", f"{data}2/list.txt"):
        with pytest.raises(CaffeFormatError, match="lies outside the folder"):
            named_file(outside, source, [str(data)])
    # The root of the disk tells nothing about what the user means.
    with pytest.raises(CaffeFormatError, match="lies outside the folder"):
        named_file(f"{data}/list.txt", source, ["/", ""])


def test_links_in_the_users_folder_are_followed_but_lead_no_name_out_of_it(tmp_path, monkeypatch):
    nets, far = tmp_path / "nets", tmp_path / "far" / "list"
    nets.mkdir()
    far.mkdir(parents=True)
    monkeypatch.chdir(nets)
    (far / "train.txt").write_text("1")
    (tmp_path / "far" / "secret.txt").write_text("1")
    (nets / "list").symlink_to(far)
    (tmp_path / "by_link").symlink_to(nets)
    for source in (nets / "net.prototxt", tmp_path / "by_link" / "net.prototxt"):
        found = named_file("list/train.txt", str(source))
        assert found == source.parent / "list" / "train.txt"
        assert found.read_text() == "1"
        assert named_file(str(nets / "list" / "train.txt"), str(source)).read_text() == "1"
        with pytest.raises(CaffeFormatError, match="no such file"):
            named_file("list/../secret.txt", str(source))
        with pytest.raises(CaffeFormatError, match="lies outside the folder"):
            named_file("list/../../far/secret.txt", str(source))
    (nets / "device.txt").symlink_to("/dev/zero")
    with pytest.raises(CaffeFormatError, match="no such file"):
        named_file("device.txt", str(nets / "net.prototxt"))
