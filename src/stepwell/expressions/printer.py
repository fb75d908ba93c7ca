"""From a syntax tree back to text."""

from __future__ import annotations

from typing import Any

from stepwell.expressions.parser import PRECEDENCE
from stepwell.expressions.syntax import (
    Binary,
    Call,
    Choice,
    Has,
    Index,
    ListOf,
    Literal,
    Logical,
    Loop,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
)
from stepwell.expressions.values import MISSING, UInt, canonical

_UNARY = 6
_TIGHTEST = 7


def print_node(node: Node) -> str:
    """Text that parses to a tree which evaluates the same."""
    return _text(node, 0)


def _text(node: Node, tightness: int) -> str:
    """The node as text, in brackets where its surroundings bind more tightly than it does."""
    level, text = _parts(node)
    return f"({text})" if level < tightness else text


def _parts(node: Node) -> tuple[int, str]:
    match node:
        case Literal():
            text = _literal(node.value)
            return (_UNARY if text.startswith("-") else _TIGHTEST), text
        case Name():
            return _TIGHTEST, node.name
        case Select():
            return _TIGHTEST, f"{_text(node.target, _TIGHTEST)}.{node.field}"
        case Index():
            return _TIGHTEST, f"{_text(node.target, _TIGHTEST)}[{_text(node.key, 0)}]"
        case ListOf():
            return _TIGHTEST, f"[{_list(node.items)}]"
        case MapOf():
            entries = ", ".join(f"{_text(key, 0)}: {_text(value, 0)}" for key, value in node.entries)
            return _TIGHTEST, f"{{{entries}}}"
        case Unary():
            return _UNARY, node.op + _text(node.operand, _UNARY)
        case Binary():
            level = PRECEDENCE[node.op]
            return level, f"{_text(node.left, level)} {node.op} {_text(node.right, level + 1)}"
        case Logical():
            level = PRECEDENCE[node.op]
            return level, f" {node.op} ".join(_text(term, level + 1) for term in node.terms)
        case Choice():
            return 0, f"{_text(node.condition, 1)} ? {_text(node.then, 1)} : {_text(node.otherwise, 0)}"
        case Call(method=True):
            return _TIGHTEST, f"{_text(node.args[0], _TIGHTEST)}.{node.name}({_list(node.args[1:])})"
        case Call():
            return _TIGHTEST, f"{node.name}({_list(node.args)})"
        case Has():
            return _TIGHTEST, f"has({_text(node.path, 0)})"
        case Loop():
            args = [Name(node.variable), *((node.condition,) if node.condition is not None else ()), node.body]
            return _TIGHTEST, f"{_text(node.over, _TIGHTEST)}.{node.macro}({_list(args)})"


def _list(nodes: list[Node] | tuple[Node, ...]) -> str:
    return ", ".join(_text(node, 0) for node in nodes)


def _literal(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if type(value) is float:
        return repr(value)  # not its canonical text: 1.0 / 2 is not 1 / 2
    return canonical(value) + ("u" if type(value) is UInt else "")
