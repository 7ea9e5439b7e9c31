"""Layer types registered from outside: their message in text and binary, and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest
from google.protobuf import text_format

from prototxt_import import (
    CaffeFormatError,
    Filler,
    Options,
    layer,
    layer_type,
    make_net,
    net_text,
    parse_net,
    read_net,
    read_weights,
    schema,
    write_net,
    write_weights,
)
from prototxt_import.layers import table

HEAD = 'input: "x" input_shape { dim: 1 dim: 3 dim: 9 dim: 9 }\n'


@pytest.fixture(autouse=True)
def _own_tables(monkeypatch):
    """Registrations end with the test."""
    monkeypatch.setattr(table, "_types", dict(table._types))
    monkeypatch.setattr(schema, "_own", [])
    yield
    monkeypatch.undo()
    schema._forget()


@dataclass(frozen=True)
class BlendOptions(Options):
    """Every kind of field; one blob per channel."""

    mode: Literal["SOFT", "HARD"]
    margins: tuple[int, ...] = ()
    strength: float = 0.5
    loud: bool = True
    note: str = "none"
    init: Filler = dataclasses.field(default_factory=Filler)
    limit: int | None = None

    def blob_count(self, bottoms):
        return 1

    def params(self, bottoms):
        return ((bottoms[0][1],),)


def blend(fields):
    return f'{HEAD}layer {{ name: "b" type: "Blend" bottom: "x" top: "y" blend_param {{ {fields} }} }}'


@pytest.mark.parametrize("number", [None, 147, 300])
@pytest.mark.parametrize("dialect", ["v2", "x2", "bvlc"])
def test_own_message_survives_a_round_trip(tmp_path, number, dialect):
    layer_type("Blend", field="blend_param", number=number)(BlendOptions)
    fields = 'mode: HARD margins: 2 margins: -1 strength: 0.1 loud: false note: "a b" init { type: "xavier" } limit: 7'
    spec = parse_net(blend(fields))
    assert spec.layers[0].options == BlendOptions("HARD", (2, -1), 0.1, False, "a b", Filler("xavier"), 7)
    assert spec.param_shapes["b"] == ((3,),)
    write_net(spec, tmp_path / "n.prototxt", dialect)
    write_weights({"b": [np.arange(3.0)]}, spec, tmp_path / "n.caffemodel", dialect)
    again = read_net(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    assert again == spec
    assert again.weights["b"][0].tolist() == [0, 1, 2]
    # 147 belongs to another message everywhere; the model then says nothing about this layer but its blobs.
    model = schema.message(dialect, "NetParameter").FromString((tmp_path / "n.caffemodel").read_bytes())
    assert model.layer[0].HasField("blend_param") == (number == 300)
    assert not model.layer[0].HasField("domain_transform_param" if dialect != "bvlc" else "swish_param")


def test_defaults_hold_and_a_field_without_one_is_demanded():
    layer_type("Blend", field="blend_param")(BlendOptions)
    assert parse_net(blend("mode: SOFT")).layers[0].options == BlendOptions("SOFT")
    with pytest.raises(CaffeFormatError, match=r"<text>:2: layer 'b' \(Blend\): mode is missing in blend_param"):
        parse_net(blend(""))
    with pytest.raises(CaffeFormatError, match="unknown field 'mod' in blend_param; did you mean 'mode'"):
        parse_net(blend("mod: SOFT"))
    with pytest.raises(CaffeFormatError, match=r"layer 'b'.*MEDIUM"):
        parse_net(blend("mode: MEDIUM"))


def test_own_type_of_the_first_format(tmp_path):
    layer_type("Blend", field="blend_param", v1="BLEND")(BlendOptions)
    text = 'input: "x" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'
    text += 'layers { name: "b" type: BLEND bottom: "x" top: "y" blend_param { mode: HARD } }'
    spec = parse_net(text)
    assert spec.layers[0] == layer("Blend", "b", "x", "y", mode="HARD")
    assert parse_net(net_text(spec, "v1")) == spec
    write_weights({"b": [np.ones(3)]}, spec, tmp_path / "w.caffemodel", "v1")
    assert read_weights(tmp_path / "w.caffemodel")["b"][0].sum() == 3


def test_own_fields_have_their_own_numbers():
    @layer_type("Tagged", field="tagged_param", number=301)
    @dataclass(frozen=True)
    class TaggedOptions(Options):
        first: int = dataclasses.field(default=0, metadata={"number": 7})

    spec = make_net("n", {"x": (1,)}, [layer("Tagged", "t", "x", "y", first=3)])
    message = schema.message("v2", "NetParameter")()
    text_format.Parse(net_text(spec), message)
    descriptor = message.layer[0].tagged_param.DESCRIPTOR
    assert (descriptor.fields[0].number, descriptor.containing_type) == (7, None)
    assert schema.message("v2", "LayerParameter").DESCRIPTOR.fields_by_name["tagged_param"].number == 301


def test_taken_names_and_strange_attributes_are_refused():
    with pytest.raises(ValueError, match="'ReLU' is registered already"):
        layer_type("ReLU", field="blend_param")(BlendOptions)
    with pytest.raises(ValueError, match="layers have a field relu_param already"):
        layer_type("Blend", field="relu_param")(BlendOptions)

    @dataclass(frozen=True)
    class Odd(Options):
        table: dict = dataclasses.field(default_factory=dict)

    with pytest.raises(ValueError, match=r"Odd.table is <class 'dict'>; a field is int"):
        layer_type("Odd", field="odd_param")(Odd)
    assert schema._own == []
    assert table.lookup("Odd") is None
    assert table.lookup("Blend") is None


def test_unknown_types_are_listed_at_once_with_all_their_layers():
    text = 'layer {{ name: "{0}" type: "{1}" bottom: "x" top: "{0}" {2} }}\n'
    text = (
        HEAD
        + "".join(text.format(f"a{i}", "Foo", "foo_param { size: 3 }") for i in range(5))
        + text.format("b", "Bar", "")
    )
    with pytest.raises(CaffeFormatError) as caught:
        parse_net(text)
    told = str(caught.value)
    assert told.startswith("<text>:2: unknown layer types: Foo (layers 'a0', 'a1', 'a2', 'a3', 'a4'")
    assert "Bar (layer 'b'" in told
    assert "prototxt_import.layer_type" in told
