"""The syntax tree of an expression. ``at`` is where a node begins in the text, for messages."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Literal(Struct, frozen=True):
    """A value that was written down: null, a boolean, number, text or bytes; or ``missing``.

    ``given`` marks what took the place of a path of the triggering event.
    """

    value: Any
    at: int = 0
    given: bool = False


class Name(Struct, frozen=True):
    """A variable, a loop variable, or a type."""

    name: str
    at: int = 0


class Select(Struct, frozen=True):
    """``target.field``"""

    target: Node
    field: str
    at: int = 0


class Index(Struct, frozen=True):
    """``target[key]``"""

    target: Node
    key: Node
    at: int = 0


class ListOf(Struct, frozen=True):
    """``[a, b]``"""

    items: tuple[Node, ...]
    at: int = 0


class MapOf(Struct, frozen=True):
    """``{a: b}``"""

    entries: tuple[tuple[Node, Node], ...]
    at: int = 0


class Unary(Struct, frozen=True):
    """``!a`` or ``-a``"""

    op: str
    operand: Node
    at: int = 0


class Binary(Struct, frozen=True):
    """Arithmetic, comparison or ``in``."""

    op: str
    left: Node
    right: Node
    at: int = 0


class Logical(Struct, frozen=True):
    """``a && b && c``, or the same with ``||``. A chain is one node, however long, so that it does not nest."""

    op: str
    terms: tuple[Node, ...]
    at: int = 0


class Choice(Struct, frozen=True):
    """``condition ? then : otherwise``"""

    condition: Node
    then: Node
    otherwise: Node
    at: int = 0


class Call(Struct, frozen=True):
    """``name(args)``, or ``args[0].name(args[1:])`` if ``method``."""

    name: str
    args: tuple[Node, ...]
    method: bool = False
    at: int = 0


class Has(Struct, frozen=True):
    """``has(path)``"""

    path: Select | Index
    at: int = 0


class Loop(Struct, frozen=True):
    """``over.macro(variable, body)``. Only ``map`` may have a ``condition`` as well."""

    macro: str
    over: Node
    variable: str
    body: Node
    condition: Node | None = None
    at: int = 0


Node = Literal | Name | Select | Index | ListOf | MapOf | Unary | Binary | Logical | Choice | Call | Has | Loop


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below this one, in the order they were written."""
    match node:
        case Literal() | Name():
            return ()
        case Select():
            return (node.target,)
        case Index():
            return (node.target, node.key)
        case ListOf():
            return node.items
        case MapOf():
            return tuple(part for entry in node.entries for part in entry)
        case Unary():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Logical():
            return node.terms
        case Choice():
            return (node.condition, node.then, node.otherwise)
        case Call():
            return node.args
        case Has():
            return (node.path,)
        case Loop():
            return (node.over, node.body) if node.condition is None else (node.over, node.condition, node.body)


def path_of(node: Node) -> tuple[str, ...] | None:
    """The names a path is made of, root first: ``("event", "data", "id")``; None if the node is not such a path."""
    names: list[str] = []
    while True:
        match node:
            case Select():
                names.append(node.field)
                node = node.target
            case Index(key=Literal(value=str() as field)):
                names.append(field)
                node = node.target
            case Name():
                names.append(node.name)
                return tuple(reversed(names))
            case _:
                return None
