"""JSON on the command line: as it is, ``@FILE``, or ``-`` for standard input. The server checks what is in it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec


def text_of(option: str, given: str) -> bytes:
    """What is meant by the value of an option."""
    if given == "-":
        return sys.stdin.buffer.read()
    if given.startswith("@"):
        try:
            return Path(given[1:]).read_bytes()
        except OSError as error:
            raise click.BadParameter(f"{given[1:]} cannot be read: {error.strerror}", param_hint=option) from None
    return given.encode()


def json_object(option: str, text: bytes) -> msgspec.Raw:
    """An object, as it was written."""
    if not isinstance(_decoded(option, text), dict):
        raise click.BadParameter("it must be a JSON object, such as '{\"value\": 1}'.", param_hint=option)
    return msgspec.Raw(text)


def json_array(option: str, text: bytes) -> msgspec.Raw:
    """An array, as it was written."""
    if not isinstance(_decoded(option, text, '[1, "two"]'), list):
        raise click.BadParameter("it must be a JSON array, such as '[1, \"two\"]'.", param_hint=option)
    return msgspec.Raw(text)


def json_value(option: str, text: bytes) -> msgspec.Raw:
    """Any value, as it was written."""
    _decoded(option, text)
    return msgspec.Raw(text)


def _decoded(option: str, text: bytes, example: str = '{"order_id": 1}') -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        lost = text.strip()[:1] not in (b"{", b"[") or b'"' not in text  # to the shell
        hint = f" Write it like '{example}', quotes included." if lost else ""
        raise click.BadParameter(f"this is not JSON: {error}.{hint}", param_hint=option) from None
