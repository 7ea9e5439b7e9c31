"""Prototxt files: template variables, protobuf's text format in the union schema, errors that name place and remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format

from prototxt_import import schema
from prototxt_import.errors import ODD_BYTES, CaffeFormatError, complain, nearest, other_file

# The largest published net, ResNet-101 at three scales, has 0.35 MB of text.
MAX_BYTES = 4 * 2**20
# A filler inside a parameter message inside a layer inside a net inside a solver is the deepest a real file goes.
MAX_DEPTH = 16

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_BAD_ESCAPE = re.compile(r"""(?:^|[^\\])(?:\\\\)*(\\[^abfnrtvxuU?0-7\\"'])""")
# Control characters, which a model holds and a text does not.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")
# Escaped bytes above 127.
_ESCAPED_BYTES = re.compile(r"(?:\\(?:[23][0-7]{2}|[xX][89a-fA-F][0-9a-fA-F]))+")
_ESCAPED_BYTE = re.compile(r"\\([0-7]{3}|[xX]..)")
_PLAIN_ESCAPE = re.compile(rf"\\\\|{_ESCAPED_BYTES.pattern}")
# Possessive, so that a string without end costs one pass over its line and not one from each of its characters.
_STRING = r"""\"(?:\\.|[^"\\\n])*+"?|'(?:\\.|[^'\\\n])*+'?"""
_TOKEN = re.compile(rf"#[^\n]*|{_STRING}|[{{}}<>]|[\w.+-]+|\n|:")
_SUBSTITUTED = re.compile(rf"#[^\n]*|{_STRING}|\$\{{[A-Za-z_][A-Za-z0-9_]*\}}|\n")


@dataclass
class Block:
    """A message at the top of a file: its field's name, first and last line, and its own one-word fields."""

    keyword: str
    line: int
    last_line: int = 0
    words: dict[str, str] = field(default_factory=dict)


def load(path: str | os.PathLike[str], variables: Mapping[str, str] | None = None) -> str:
    """The text of a prototxt with every ${NAME} replaced.

    Args:
        path: The file.
        variables: What they stand for.

    Returns:
        The text.

    Raises:
        CaffeFormatError: The file cannot be read or is no text, or variables have no value, all of them in one message.
    """
    source = str(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise complain(f"cannot be read: {error.strerror}", source=source) from error
    if len(data) > MAX_BYTES:
        raise complain(f"is larger than {MAX_BYTES // 2**20} MiB; that is no prototxt", source=source)
    if other := other_file(data):
        raise complain(other, source=source)
    if odd := _NO_TEXT.search(data):
        line = data.count(b"\n", 0, odd.start()) + 1
        raise complain("is not text; a binary model goes in as weights", source=source, line=line)
    # Caffe compares bytes and never asks for their encoding; comments in GBK or Latin-1 are common.
    text = data.decode("utf-8-sig", ODD_BYTES)
    return substitute(text, variables or {}, source)


def substitute(text: str, variables: Mapping[str, str], source: str) -> str:
    """Replace every ${NAME} outside comments.

    Args:
        text: The text.
        variables: What they stand for.
        source: The file's name.

    Returns:
        The text without them.

    Raises:
        CaffeFormatError: Some have no value; the message names all.
    """
    missing: dict[str, int] = {}
    line = 1

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in variables:
            return str(variables[name])
        missing.setdefault(name, line)
        return match.group()

    def token(match: re.Match[str]) -> str:
        nonlocal line
        word = match.group()
        line += word == "\n"
        return word if word[0] in "#\n" else _VARIABLE.sub(value, word)

    result = _SUBSTITUTED.sub(token, text)
    if missing:
        names = ", ".join(missing)
        example = " ".join(f"--var {name}=..." for name in missing)
        raise complain(f"no value for {names}; give {example}", source=source, line=min(missing.values()))
    return result


def scan(text: str, source: str) -> list[Block]:
    """The messages at the top of a prototxt, with their lines.

    Args:
        text: The text.
        source: The file's name.

    Returns:
        The messages in order.

    Raises:
        CaffeFormatError: Braces do not match or nest too deeply, or a string is wrong.
    """
    blocks: list[Block] = []
    opened: list[int] = []
    line, word, key = 1, "", ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token == "\n":
            line += 1
        elif token == ":":
            key, word = word, ""
        elif token in "{<":
            if not opened:
                blocks.append(Block(word or key, line))
            opened.append(line)
            if len(opened) > MAX_DEPTH:
                raise complain(f"messages nest deeper than {MAX_DEPTH}", source=source, line=line)
            word = key = ""
        elif token in "}>":
            if not opened:
                raise complain(f"{token!r} closes nothing", source=source, line=line)
            opened.pop()
            if not opened:
                blocks[-1].last_line = line
            word = key = ""
        elif token[0] == "#":
            continue
        elif token[0] in "\"'" and (len(token) == 1 or token[-1] != token[0]):
            raise complain(f"a string that begins with {token[:20]} is never closed", source=source, line=line)
        elif wrong := token[0] in "\"'" and "\\" in token and _BAD_ESCAPE.search(token):
            # protobuf's Python parser would take it with a warning, its C++ one (Caffe's) refuses it.
            fault = f"unknown escape {wrong.group(1)} in a string; write \\\\ for a backslash"
            raise complain(fault, source=source, line=line)
        else:
            if key and len(opened) == 1:
                blocks[-1].words.setdefault(key, token)
            word, key = ("", "") if key else (token, "")
    if opened:
        block = blocks[-1]
        raise complain(
            f"the {block.keyword or 'message'} that begins here is never closed; a '}}' is missing",
            source=source,
            line=block.line,
        )
    return blocks


def parse(text: str, name: str, source: str, blocks: list[Block]) -> Any:
    """A text as a message of the union schema.

    Args:
        text: The text.
        name: The message's name, "NetParameter" or "SolverParameter".
        source: The file's name.
        blocks: What `scan` gives of the text.

    Returns:
        The message.

    Raises:
        CaffeFormatError: The text is none; the message has line, layer and remedy.
    """
    kind = schema.message("text", name)
    if _ESCAPED_BYTES.search(text):
        text = _SUBSTITUTED.sub(_decode_escapes, text)
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        raise _explain(error, source, blocks) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise complain(f"is not a valid prototxt: {error}", source=source) from None


def _decode_escapes(token: re.Match[str]) -> str:
    """A string's escaped bytes above 127 as the characters they are; protobuf's Python parser wants them in UTF-8."""

    def characters(match: re.Match[str]) -> str:
        if match.group() == "\\\\":
            return match.group()
        codes = (escape.group(1) for escape in _ESCAPED_BYTE.finditer(match.group()))
        return bytes(int(code[1:], 16) if code[0] in "xX" else int(code, 8) & 255 for code in codes).decode(
            "utf-8", ODD_BYTES
        )

    word = token.group()
    return word if word[0] not in "\"'" else _PLAIN_ESCAPE.sub(characters, word)


_QUOTED_LINE = re.compile(r"^'.*': (?=[A-Z])")
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(\w+)"')
_NO_VALUE = re.compile(r'Enum type "([\w.]+)" has no value (?:named|with number) ([\w-]+)')
_QUOTED_TYPE = re.compile(r'Enum type "V1LayerParameter.LayerType" has no value named ["\'](.*)["\']')
_BARE_TYPE = re.compile(r"Expected string but found: '(\w+)'")


def _explain(error: Any, source: str, blocks: list[Block]) -> CaffeFormatError:
    fault = str(error)
    line = error.GetLine()
    if line:
        fault = fault.removeprefix(f"{line}:{error.GetColumn()} :").strip()
        # Some messages repeat the whole line, which may hold an entire layer.
        fault = _QUOTED_LINE.sub("", fault)
    layer = next(
        (
            block.words.get("name", "").strip("\"'")
            for block in blocks
            if line and block.keyword in ("layer", "layers") and block.line <= line <= block.last_line
        ),
        None,
    )
    if match := _NO_FIELD.search(fault):
        message, field_name = match.groups()
        known = schema.message("text", message).DESCRIPTOR.fields_by_name
        hint = _other_kind(message, field_name) or nearest(field_name, known)
        fault = f"unknown field '{field_name}' in {_spoken(message)}{hint}"
    elif match := _QUOTED_TYPE.search(fault):
        fault = f'type: "{match[1]}" stands in a `layers` block; call the block `layer`: only there types are quoted'
    elif (match := _BARE_TYPE.search(fault)) and _has_type(blocks, line, match[1]):
        fault = (
            f"type: {match[1]} stands in a `layer` block; call the block `layers`, or write the newer name in quotes"
        )
    elif match := _NO_VALUE.search(fault):
        enum, value = match.groups()
        known = _enum_values(enum)
        fault = f"unknown value {value} for {enum.rsplit('.', 1)[-1]}{nearest(value, known)}"
    return complain(fault.rstrip("."), source=source, line=line or None, layer=layer or None)


def _other_kind(message: str, name: str) -> str:
    """A hint where a file is a net in place of a solver, or the other way round; '' elsewhere."""
    for kind, other, told in (
        ("NetParameter", "SolverParameter", "this is a solver and no net"),
        ("SolverParameter", "NetParameter", "this is a net and no solver"),
    ):
        if message == kind and name in schema.message("text", other).DESCRIPTOR.fields_by_name:
            return f"; {told}"
    return ""


def _has_type(blocks: list[Block], line: int | None, word: str) -> bool:
    """Whether the layer at a line has that word, without quotes, for its type."""
    if line is None:
        return False
    return any(
        block.keyword == "layer" and block.line <= line <= block.last_line and block.words.get("type") == word
        for block in blocks
    )


def _spoken(message: str) -> str:
    """A message as the reader of a prototxt knows it: by the field that holds it."""
    if message in ("NetParameter", "SolverParameter"):
        return {"NetParameter": "the net", "SolverParameter": "the solver"}[message]
    if message in ("LayerParameter", "V1LayerParameter"):
        return {"LayerParameter": "a layer", "V1LayerParameter": "a layers block"}[message]
    fields = schema.message("text", "LayerParameter").DESCRIPTOR.fields
    holders = [field.name for field in fields if field.message_type is not None and field.message_type.name == message]
    return holders[0] if holders else message


def _enum_values(name: str) -> list[str]:
    *outer, enum = name.split(".")
    if not outer:
        return ["TRAIN", "TEST"]
    descriptor = schema.message("text", outer[0]).DESCRIPTOR.enum_types_by_name.get(enum)
    return [] if descriptor is None else list(descriptor.values_by_name)
