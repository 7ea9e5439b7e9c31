"""No field of any fork's schema is dropped in silence: each is read, refused by name, noted, or known to do nothing.

Messages are wrapped so that they tell which fields were looked at while layers of every type are imported."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

import deeplab_repro.train
from prototxt_import import CaffeFormatError, SolverSpec, parse_net, read_solver, schema
from prototxt_import.layers import Context, layer_types
from prototxt_import.layers.messages import repeated
from prototxt_import.prototxt import net as net_module
from prototxt_import.prototxt.ignored import NO_EFFECT, NOTED, ignored_notes
from prototxt_import.prototxt.upgrade import v0_names, v0_to_v1, v0_unfitting, v1_to_v2

LAYER = schema.message("text", "LayerParameter").DESCRIPTOR
V1_LAYER = schema.message("text", "V1LayerParameter").DESCRIPTOR
GROUPS = [field for field in LAYER.fields if field.message_type is not None and field.name.endswith("_param")]


# Messages are made anew in each test: a type that another test has registered gives every message a new class.
def new_layer(**fields):
    return schema.message("text", "LayerParameter")(**fields)


def new_v1(**fields):
    return schema.message("text", "V1LayerParameter")(**fields)


# Without these a type's message is refused before its other fields are looked at.
NEEDED = {
    "Convolution": "convolution_param { num_output: 2 kernel_size: 1 }",
    "Deconvolution": "convolution_param { num_output: 2 kernel_size: 1 }",
    "Embed": "embed_param { num_output: 2 input_dim: 3 }",
    "Im2col": "convolution_param { kernel_size: 2 }",
    "InnerProduct": "inner_product_param { num_output: 2 }",
    "MultiStageMeanfield": (
        "multi_stage_meanfield_param { theta_alpha: 1 theta_beta: 1 theta_gamma: 1 num_iterations: 2 }"
    ),
    "Pooling": "pooling_param { kernel_size: 2 }",
    "SPP": "spp_param { pyramid_height: 2 }",
    "Unpooling": "unpooling_param { kernel_size: 2 }",
}
# Messages of types that nobody here knows; a layer of one is refused by its type's name.
UNKNOWN = {
    "RecurrentParameter": 'layer { name: "l" type: "LSTM" }',
    "DominantChannelParameter": 'layers { name: "l" type: DOMINANT_CHANNEL }',
    "CensorLabelParameter": 'layers { name: "l" type: CENSOR_LABEL }',
    "ChannelAggregatorParameter": 'layers { name: "l" type: CHANNEL_AGGREGATOR }',
    "IgnoreOverlayParameter": 'layers { name: "l" type: IGNORE_OVERLAY }',
    "HistogramParameter": 'layers { name: "l" type: HISTOGRAM }',
    "GainChannelParameter": 'layers { name: "l" type: GAIN_CHANNEL }',
    "OneHotParameter": 'layers { name: "l" type: ONEHOT }',
}
STRUCTURE = """
name: "n" force_backward: true debug_info: true state { phase: TEST level: 1 stage: "s" }
input: "x" input_shape { dim: 1 dim: 2 }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" loss_weight: 0 phase: TEST propagate_down: true
  include { phase: TEST min_level: 0 max_level: 9 stage: "s" not_stage: "t" }
  param { name: "w" lr_mult: 2 decay_mult: 3 share_mode: PERMISSIVE }
  inner_product_param { num_output: 1 bias_term: false weight_filler { type: "constant" } }
  blobs { data: 1 data: 2 shape { dim: 1 dim: 2 } } }
layer { name: "b" type: "InnerProduct" bottom: "x" top: "b" exclude { phase: TRAIN }
  inner_product_param { num_output: 1 bias_term: false }
  blobs { double_data: 1 double_data: 2 num: 1 channels: 1 height: 1 width: 2 } }
"""


class Recording:
    """A message that adds (message, field) to `seen` for each of its fields, and those inside, that is looked at."""

    def __init__(self, message, seen):
        vars(self).update(_message=message, _seen=seen)

    def __getattr__(self, name):
        message, seen = self._message, self._seen
        value, descriptor = getattr(message, name), message.DESCRIPTOR.fields_by_name.get(name)
        if descriptor is None:
            return self._noting(value) if name == "HasField" else value
        seen.add((message.DESCRIPTOR.name, name))
        if isinstance(value, Message):
            return Recording(value, seen)
        return [Recording(inner, seen) for inner in value] if descriptor.message_type is not None else value

    def __setattr__(self, name, value):
        setattr(self._message, name, value)

    def _noting(self, has_field):
        def noting(name):
            self._seen.add((self._message.DESCRIPTOR.name, name))
            return has_field(name)

        return noting


def put(message, field):
    """Give a field a value other than its default."""
    if field.message_type is not None:
        inner = getattr(message, field.name).add() if repeated(field) else getattr(message, field.name)
        inner.SetInParent()
        return
    if field.enum_type is not None:
        numbers = [member.number for member in field.enum_type.values]
        value = next((number for number in reversed(numbers) if number != field.default_value), numbers[0])
    elif field.type == field.TYPE_STRING:
        value = "a"
    elif field.type == field.TYPE_BOOL:
        value = repeated(field) or not field.default_value
    else:
        value = 0.25 if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) else 2
    if repeated(field):
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


@cache
def looked_at(row):
    """(message, field) of all that layers of a type look at, and of what they refuse by the field's name."""
    seen = set()
    for group in GROUPS:
        for field in group.message_type.fields:
            for dialect in ("bvlc", "v1"):
                message = text_format.Parse(NEEDED.get(row.name, ""), new_layer(type=row.name))
                put(getattr(message, group.name), field)
                context = Context("TRAIN", dialect, row.bottoms[0], row.tops[0])
                try:
                    row.options.parse(Recording(message, seen), context)
                except (ValueError, OverflowError) as error:
                    if re.search(rf"\b{field.name}\b", str(error)):
                        seen.add((group.message_type.name, field.name))
    return frozenset(seen)


@cache
def looked_at_by_any():
    seen = set().union(*map(looked_at, layer_types()))

    def recorded(*arguments):
        return Recording(parse(*arguments), seen)

    parse = net_module.parse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net_module, "parse", recorded)
        parse_net(STRUCTURE, phase="TEST")
        layers = STRUCTURE[STRUCTURE.index("layer") :]
        parse_net(f'input: "x" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 2 {layers}')
        parse_net(f'layer {{ type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 }} }} }} {layers}')
        with pytest.raises(CaffeFormatError, match="mixes"):
            parse_net(STRUCTURE + "layers { }")
    return frozenset(seen)


def messages(dialect):
    """All messages of which a net or a solver of a dialect is made."""
    waiting = [schema.message(dialect, name).DESCRIPTOR for name in ("NetParameter", "SolverParameter")]
    reached = {}
    while waiting:
        message = waiting.pop()
        if message.name not in reached:
            reached[message.name] = message
            waiting += [field.message_type for field in message.fields if field.message_type is not None]
    return reached


@pytest.mark.parametrize("dialect", schema.DIALECTS)
def test_every_field_is_read_refused_noted_or_known_to_do_nothing(dialect):
    noted = {(LAYER.fields_by_name[group].message_type.name, name) for _, group, name in NOTED if name}
    apart = {"V0LayerParameter", "V1LayerParameter", "SolverParameter", *UNKNOWN}
    dropped = [
        f"{message.name}.{field.name}"
        for message in messages(dialect).values()
        if message.name not in apart
        for field in message.fields
        if (message.name, field.name) not in looked_at_by_any() | noted | set(NO_EFFECT)
        # A layer's own messages count by their fields, whoever reads them.
        and not (message.name == "LayerParameter" and field.name.endswith("_param"))
    ]
    assert dropped == []


@pytest.mark.parametrize("row", [row for row in layer_types() if row.field], ids=lambda row: row.name)
def test_each_type_takes_every_field_of_its_message(row):
    message = LAYER.fields_by_name[row.field].message_type
    noted = {name for kind, group, name in NOTED if (kind, group) == (row.name, row.field)}
    dropped = [
        field.name
        for field in message.fields
        if (message.name, field.name) not in looked_at(row) | set(NO_EFFECT) and field.name not in noted
    ]
    # Python layers are known by the three that name their code, which stand in for each other.
    assert dropped == [] or row.field == "python_param"


@pytest.mark.parametrize("message", sorted(UNKNOWN))
def test_layers_that_no_one_knows_are_refused_by_type(message):
    assert message in messages("text")
    name = re.search(r"type: \"?(\w+)", UNKNOWN[message])[1]
    with pytest.raises(CaffeFormatError, match=f"unknown layer type: {name}"):
        parse_net(UNKNOWN[message])


@pytest.mark.parametrize("case", sorted(NOTED), ids=".".join)
def test_what_is_noted_is_told_once_with_its_layers(case):
    kind, group, name = case
    layers = []
    for layer in ("a", "b"):
        layers.append(new_layer(name=layer, type=kind))
        inner = getattr(layers[-1], group)
        inner.SetInParent()
        if name:
            put(inner, inner.DESCRIPTOR.fields_by_name[name])
    net = schema.message("text", "NetParameter")()
    [note] = ignored_notes(net, layers, "bvlc")
    assert note.startswith(f"{f'{group}.{name}'.rstrip('.')} (layer 'a', 'b') ")
    assert note.endswith(NOTED[case])
    assert ignored_notes(net, [new_layer(name="a", type=kind)], "bvlc") == ()


def test_nothing_stands_in_the_lists_that_no_schema_has():
    known = {(name, field.name) for name, message in messages("text").items() for field in message.fields}
    assert set(NO_EFFECT) <= known
    for kind, group, name in NOTED:
        message = LAYER.fields_by_name[group].message_type.name
        assert kind in {row.name for row in layer_types()}
        assert not name or (message, name) in known


def test_notes_of_a_net_say_what_changes_nothing():
    data = 'name: "d" type: "Data" top: "x" data_param { rand_skip: 3 force_encoded_color: true }'
    notes = parse_net(f"debug_info: true layer {{ {data} }}").notes
    assert [re.split(r" \(| of ", note)[0] for note in notes] == [
        "debug_info", "data_param.rand_skip", "data_param.force_encoded_color",
    ]  # fmt: skip
    assert parse_net(f"layer {{ {data} }}", dialect="segnet").notes == ()


@pytest.mark.parametrize("field", list(V1_LAYER.fields), ids=lambda field: field.name)
def test_every_field_of_a_v1_layer_reaches_the_new_one(field):
    old = new_v1(name="n", type="RELU")
    bare = v1_to_v2(old)
    put(old, field)
    if field.name == "layer":
        assert v0_to_v1_of(old.layer, "relu").type == old.RELU
    elif field.name == "strict_dim":
        text = (
            'layers { name: "n" type: RELU bottom: "x" top: "y" strict_dim: false } input: "x" input_dim: [1, 1, 1, 1]'
        )
        assert not parse_net(text).layers[0].strict_dim
    else:
        assert v1_to_v2(old) != bare


def v0_to_v1_of(inner, kind):
    inner.type = kind
    return v0_to_v1(new_v1(layer=inner), "", None)


@pytest.mark.parametrize(
    "field", list(schema.message("text", "V0LayerParameter").DESCRIPTOR.fields), ids=lambda field: field.name
)
def test_every_field_of_a_v0_layer_reaches_some_type_and_is_told_where_it_does_not(field):
    if ("V0LayerParameter", field.name) in NO_EFFECT or field.name == "type":
        return
    taken = set()
    for kind in v0_names():
        inner = schema.message("text", "V0LayerParameter")()
        bare = v0_to_v1_of(inner, kind)
        put(inner, field)
        if v0_to_v1_of(inner, kind) != bare:
            taken.add(kind)
        else:
            assert v0_unfitting(new_v1(layer=inner)) == [field.name]
    assert taken
    text = 'layers { layer { name: "n" type: "relu" num_output: 3 } bottom: "x" top: "y" } '
    text += 'input: "x" input_dim: [1, 1, 1, 1]'
    assert parse_net(text).notes == ("num_output (layer 'n') changes nothing: its type has no such field",)


@pytest.mark.parametrize(
    "field", list(schema.message("text", "SolverParameter").DESCRIPTOR.fields), ids=lambda field: field.name
)
def test_every_field_of_a_solver_is_read_and_used(field, tmp_path):
    if ("SolverParameter", field.name) in NO_EFFECT:
        return
    message = schema.message("text", "SolverParameter")()
    put(message, field)
    if field.name == "type":
        message.type = "Adam"
    if field.name in ("train_state", "test_state"):
        (message.train_state if field.name == "train_state" else message.test_state[0]).level = 1
    (tmp_path / "s.prototxt").write_text(text_format.MessageToString(message))
    assert read_solver(tmp_path / "s.prototxt") != SolverSpec()
    used = "type" if field.name == "solver_type" else field.name
    room = Path(deeplab_repro.train.__file__).parent
    texts = [file.read_text() for file in [*room.rglob("*.py"), room.parent / "cli" / "train.py"]]
    assert any(re.search(rf"\b(solver|read)\.{used}\b|\"{used}\"", text) for text in texts)
