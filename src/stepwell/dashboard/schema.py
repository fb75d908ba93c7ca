"""What is in events of a name, as far as a few of them tell: their members, of which types, and how many have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import msgspec

from stepwell.dashboard.json_text import is_locked

FIELDS_MAX: Final = 200
_DEPTH_MAX: Final = 8
_ITEMS_MAX: Final = 20  # of an array
_NAMES_MAX: Final = 60  # of an object; one that has more is a table rather than a record
_EXAMPLE_CHARS: Final = 60
_ORDER: Final = ("object", "array", "string", "number", "boolean", "encrypted", "null")


class Member(NamedTuple):
    """A member of an object, or what an array has (``[]``). ``seen`` is in how many of its parents it was, of ``of``;
    ``example`` is the newest value that is short."""

    path: str
    name: str
    depth: int
    types: Sequence[str]
    seen: int
    of: int
    example: str


class Schema(NamedTuple):
    """The members in the order in which they were seen. ``more`` is whether some are left out."""

    members: Sequence[Member]
    samples: int
    more: bool


@dataclass(slots=True)
class _Node:
    types: dict[str, int] = field(default_factory=dict[str, int])
    example: str = ""
    children: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    more: bool = False


def schema(samples: Iterable[bytes]) -> Schema:
    """What these JSON texts have in common, the newest first."""
    root, number = _Node(), 0
    for text in samples:
        number += 1
        _see(root, msgspec.json.decode(text), 0)
    found: list[Member] = []
    more = _list(root, "", 0, number, found)
    return Schema(found[:FIELDS_MAX], number, more or len(found) > FIELDS_MAX)


def shape(text: bytes) -> frozenset[str]:
    """The members of a JSON text with their types: two texts are alike if they have the same."""
    found = schema((text,))
    return frozenset(f"{each.path} {each.types}" for each in found.members)


def _see(node: _Node, value: Any, depth: int) -> None:
    kind = _type(value)
    node.types[kind] = node.types.get(kind, 0) + 1
    if kind == "object":
        members = cast("Mapping[str, Any]", value)
        inside: list[tuple[str, Any]] = list(members.items())[:_NAMES_MAX]
        node.more |= len(members) > _NAMES_MAX
    elif kind == "array":
        items = cast("Sequence[Any]", value)
        inside = [("[]", each) for each in items[:_ITEMS_MAX]]
    else:
        text = "" if kind == "encrypted" else msgspec.json.encode(value).decode()
        if not node.example and kind != "null" and len(text) <= _EXAMPLE_CHARS:
            node.example = text
        return
    if depth == _DEPTH_MAX:
        node.more |= bool(inside)
        return
    for name, each in inside:
        known = node.children.get(name)
        if known is None:
            if len(node.children) >= _NAMES_MAX:
                node.more = True
                continue
            known = node.children[name] = _Node()
        _see(known, each, depth + 1)


def _list(node: _Node, path: str, depth: int, of: int, found: list[Member]) -> bool:
    more = node.more
    for name, child in node.children.items():
        if len(found) > FIELDS_MAX:
            return True
        inner = f"{path}{name}" if name == "[]" or not path else f"{path}.{name}"
        seen = sum(child.types.values())
        types = [kind for kind in _ORDER if kind in child.types]
        found.append(Member(inner, name, depth, types, seen, seen if name == "[]" else of, child.example))
        more |= _list(child, inner, depth + 1, child.types.get("object", 0), found)
    return more


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "encrypted" if is_locked(cast("Mapping[str, Any]", value)) else "object"
