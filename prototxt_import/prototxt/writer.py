"""Nets back to Caffe's prototxt text, in the dialect asked for; and files that are written whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf import text_format

from prototxt_import import schema
from prototxt_import.errors import CaffeFormatError, complain
from prototxt_import.layers import lookup
from prototxt_import.layers.table import LayerType
from prototxt_import.prototxt.families import rules_comment
from prototxt_import.spec import NetSpec
from prototxt_import.values import LayerSpec, ParamSpec
from prototxt_import.wiring import default_loss_weights, default_param, problem

# How a person writes a layer; what is not named follows in the schema's order.
_FIRST = ("name", "type", "bottom", "top", "loss_weight", "propagate_down", "param", "blobs_lr", "weight_decay")


def net_text(spec: NetSpec, dialect: str = "v2") -> str:
    """The prototxt of a net.

    Args:
        spec: The net.
        dialect: "v1" with `layers { type: CONVOLUTION }` and `hole`; all others with `layer {}`. "text" is the union of
            all, which no single fork reads.

    Returns:
        The text, without weights. Where forks give the same text other meanings a first comment says which one is
        meant, which reading heeds.

    Raises:
        CaffeFormatError: The dialect cannot express a layer; the message names it.

    Example:
        >>> from prototxt_import import layer, make_net, net_text
        >>> net = make_net("n", {"x": (1, 3)}, [layer("ReLU", "r", "x", "y")])
        >>> print(net_text(net))
        name: "n"
        input: "x"
        input_shape { dim: 1 dim: 3 }
        layer {
          name: "r"
          type: "ReLU"
          bottom: "x"
          top: "y"
        }
        <BLANKLINE>
    """
    if dialect != "text":
        check_dialect(dialect)
    out = io.StringIO()
    messages = [(layer, layer_message(layer, dialect, spec.source)) for layer in spec.layers]
    out.write(rules_comment(messages, dialect, spec.phase))
    out.write(f"name: {_quoted(spec.name)}\n")
    if spec.force_backward:
        out.write("force_backward: true\n")
    inputs = _input_messages(spec, dialect)
    for name, shape in spec.inputs.items() if not inputs else ():
        out.write(f"input: {_quoted(name)}\n")
        if dialect == "v1":
            if len(shape) != 4:
                raise complain(f"input {name!r}: the v1 dialect needs 4 axes, the shape is {list(shape)}")
            out.writelines(f"input_dim: {side}\n" for side in shape)
        else:
            out.write(f"input_shape {{ {' '.join(f'dim: {side}' for side in shape)} }}\n")
    for message in (*inputs, *(message for _, message in messages)):
        out.write("layers {\n" if dialect == "v1" else "layer {\n")
        _print_layer(message, out)
        out.write("}\n")
    return out.getvalue()


def _input_messages(spec: NetSpec, dialect: str) -> list[Any]:
    """The inputs as Input layers, where there is something to tell whoever feeds them and the dialect has the type."""
    kind = None if dialect == "v1" or spec.input_transform is None else schema.message(dialect, "LayerParameter")
    if kind is None or "input_param" not in kind.DESCRIPTOR.fields_by_name:
        return []
    messages = []
    for name, shape in spec.inputs.items():
        message = kind(name=name, type="Input", top=[name])
        message.input_param.shape.add().dim.extend(shape)
        messages.append(message)
    assert spec.input_transform is not None
    spec.input_transform.put_into(messages[0])
    return messages


def write_net(spec: NetSpec, path: str | os.PathLike[str], dialect: str = "v2") -> None:
    """Write `net_text` to a file, whole or not at all.

    Args:
        spec: The net.
        path: The file.
        dialect: As in `net_text`.

    Raises:
        CaffeFormatError: The dialect cannot express a layer, or the file cannot be written.

    Example:
        >>> from prototxt_import import layer, make_net, read_net, write_net
        >>> net = make_net("n", {"x": (1, 3)}, [layer("ReLU", "r", "x", "y")])
        >>> write_net(net, "net.prototxt")
        >>> read_net("net.prototxt") == net
        True
    """
    text = net_text(spec, dialect)
    replace_file(path, lambda stream: stream.write(text.encode()))


def layer_message(layer: LayerSpec, dialect: str, source: str = "") -> Any:
    """A layer as a message of a dialect's own schema, without blobs.

    Args:
        layer: The layer.
        dialect: The dialect.
        source: The net's file, for errors.

    Returns:
        A LayerParameter; in v1 a V1LayerParameter.

    Raises:
        CaffeFormatError: The dialect cannot express the layer.
    """
    row = lookup(layer.type)
    if row is None:
        raise problem(layer, source, "unknown layer type")
    message = schema.message(dialect, "V1LayerParameter" if dialect == "v1" else "LayerParameter")()
    message.name = layer.name
    if dialect == "v1":
        values = message.DESCRIPTOR.enum_types_by_name["LayerType"].values_by_name
        if row.v1 not in values:
            raise problem(layer, source, "the v1 dialect has no such layer")
        message.type = values[row.v1].number
    elif row.field and row.field not in message.DESCRIPTOR.fields_by_name and dialect not in row.options.bare_in:
        raise problem(layer, source, f"the {dialect} dialect has no such layer")
    else:
        message.type = layer.type
    message.bottom.extend(layer.bottoms)
    message.top.extend(layer.tops)
    try:
        layer.options.emit(message, dialect)
    except ValueError as error:
        raise problem(layer, source, error) from None
    if layer.loss_weights != default_loss_weights(row, len(layer.tops)):
        message.loss_weight.extend(layer.loss_weights)
    if layer.propagate_down:
        if dialect == "v1":
            raise problem(layer, source, "the v1 dialect has no propagate_down")
        message.propagate_down.extend(layer.propagate_down)
    if layer.phase:
        if dialect == "v1":
            raise problem(layer, source, "the v1 dialect has no phase of a layer's own")
        message.phase = message.DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_name[layer.phase].number
    if not layer.strict_dim and dialect == "v1":
        message.strict_dim = False
    _put_params(message, layer.params, row, dialect)
    return message


def bare_message(layer: LayerSpec, dialect: str) -> Any:
    """A layer that a dialect lacks as what every program skips and finds by name: name, type and blob names alone.

    Args:
        layer: The layer.
        dialect: The dialect.

    Returns:
        A LayerParameter; in v1, whose types are an enum, a V1LayerParameter without type.
    """
    message = schema.message(dialect, "V1LayerParameter" if dialect == "v1" else "LayerParameter")()
    message.name = layer.name
    if dialect != "v1":
        message.type = layer.type
    message.bottom.extend(layer.bottoms)
    message.top.extend(layer.tops)
    return message


def nearest_dialect(spec: NetSpec, first: str) -> str:
    """The dialect that can express every layer of a net: `first`, else the nearest one that can; "" where none can.

    Args:
        spec: The net.
        first: The dialect wanted.

    Returns:
        A dialect that `net_text` takes, or "".

    Example:
        >>> from prototxt_import import layer, make_net
        >>> from prototxt_import.prototxt.writer import nearest_dialect
        >>> clip = layer("Clip", "c", ["x"], ["y"], min=0.0, max=6.0)
        >>> nearest_dialect(make_net("n", {"x": (1, 3)}, [clip]), "v2")
        'bvlc'
        >>> interp = layer("Interp", "i", ["y"], ["z"], height=9, width=9)
        >>> nearest_dialect(make_net("n", {"x": (1, 3, 5, 5)}, [clip, interp]), "v2")
        ''
    """
    # V1 text is the farthest from all others; the siblings come in the order of their releases.
    for dialect in dict.fromkeys((first, "v2", "x2", "bvlc", *schema.FORKS[4:], "v1")):
        blobs = (shape for shapes in spec.param_shapes.values() for shape in shapes)
        if dialect == "v1" and any(len(shape) > 4 for shape in blobs):
            continue
        try:
            net_text(spec, dialect)
        except CaffeFormatError:
            continue
        return dialect
    return ""


def lacking(spec: NetSpec, dialect: str) -> list[LayerSpec]:
    """The layers of a net that a dialect cannot express.

    Args:
        spec: The net.
        dialect: The dialect.

    Returns:
        The layers.
    """
    inexpressible = []
    for layer in spec.layers:
        try:
            layer_message(layer, dialect)
        except CaffeFormatError:
            inexpressible.append(layer)
    return inexpressible


def _put_params(message: Any, params: Sequence[ParamSpec], row: LayerType, dialect: str) -> None:
    if all(param == default_param(row) for param in params):
        return
    if dialect != "v1":
        for param in params:
            written = message.param.add(lr_mult=param.lr_mult, decay_mult=param.decay_mult)
            if param.name:
                written.name = param.name
            if param.share_mode != "STRICT":
                written.share_mode = written.DimCheckMode.Value(param.share_mode)
        return
    message.blobs_lr.extend(param.lr_mult for param in params)
    message.weight_decay.extend(param.decay_mult for param in params)
    if any(param.name for param in params):
        message.param.extend(param.name for param in params)
    if any(param.share_mode != "STRICT" for param in params):
        message.blob_share_mode.extend(message.DimCheckMode.Value(param.share_mode) for param in params)


def _print_layer(message: Any, out: io.StringIO) -> None:
    places = {name: place for place, name in enumerate(_FIRST)}
    for descriptor, value in sorted(message.ListFields(), key=lambda field: places.get(field[0].name, len(places))):
        for element in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
            if descriptor.message_type is not None:
                inner = text_format.MessageToString(element, as_one_line=True)
                out.write(f"  {descriptor.name} {{{' ' + inner if inner else ''} }}\n")
            else:
                scalar = io.StringIO()
                text_format.PrintField(descriptor, element, scalar, as_one_line=True)
                out.write(f"  {scalar.getvalue().rstrip()}\n")


def _quoted(name: str) -> str:
    """A string as text format writes it."""
    return text_format.MessageToString(
        schema.message("v2", "NetParameter")(name=name), as_one_line=True, as_utf8=True
    ).removeprefix("name: ")


def check_dialect(dialect: str) -> None:
    """Check that nets can be written in a dialect.

    Args:
        dialect: The dialect.

    Raises:
        CaffeFormatError: They cannot.
    """
    if dialect not in schema.FORKS:
        raise complain(f"cannot write dialect {dialect!r}; known are {', '.join(schema.FORKS)}")


def replace_file(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all.

    Args:
        path: The file.
        write: Called with a new, empty one, which is moved to `path` when it is filled.

    Raises:
        CaffeFormatError: The file cannot be written; nothing stays behind.
    """
    target = Path(path)
    # Opened as any file, with the mode that the umask and the folder give.
    name = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        stream = name.open("x+b")
    except OSError as error:
        raise complain(f"cannot be written: {error.strerror}", source=str(path)) from error
    try:
        with stream:
            write(stream)
        os.replace(name, target)
    except BaseException as error:
        name.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise complain(f"cannot be written: {error.strerror}", source=str(path)) from error
        raise
