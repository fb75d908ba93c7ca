"""What remains of a condition once the triggering event is known (semantics §3.5)."""

# JSON can be anything, so the types found in it are unknown by nature.
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from msgspec import Struct

from stepwell.expressions.compiler import compile_node
from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.moments import duration_text, moment_text
from stepwell.expressions.printer import print_node
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
    children,
    path_of,
)
from stepwell.expressions.values import (
    DECIMAL_BITS_MAX,
    MISSING,
    TYPES,
    EvaluationError,
    Frame,
    Type,
    probe_text,
    truthy,
)
from stepwell.limits import EVENT_BYTES_MAX, EXPRESSION_DEPTH_MAX

_NONE: frozenset[str] = frozenset()
_EVENT = frozenset({"event"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})


class Bound(Struct, frozen=True):
    """A condition on ``async`` alone.

    ``text`` compiles with ``variables=("async",)`` and gives what the whole condition would have given. ``never`` says
    that no event can make it true. ``probe`` is one equality that must hold for it to be true: the path below
    ``async``, and the text that ``probe_value`` must give for an event; None if there is no such equality.
    """

    text: str
    never: bool
    probe: tuple[str, str] | None


def bind_node(node: Node, event: Mapping[str, Any]) -> Bound:
    """Replace what depends on ``event`` alone; raises ``EvaluationError`` if that makes it too large."""
    bound = _Binder(event).bind(node)
    text = print_node(bound)
    if len(text.encode("utf-8", "surrogatepass")) > EVENT_BYTES_MAX:
        raise _too_large()
    _check_depth(bound, 1)
    terms = list(_conjuncts(bound))
    never = any(isinstance(term, Literal) and not truthy(term.value) for term in terms)
    last = terms[-1]
    return Bound(
        text, never or (isinstance(last, Literal) and last.value is not True), None if never else _probe(terms)
    )


def _too_large() -> EvaluationError:
    return EvaluationError(
        f"with the event's data it is longer than {EVENT_BYTES_MAX:,} bytes; compare an id instead of whole values"
    )


def _too_deep() -> EvaluationError:
    return EvaluationError(f"with the event's data it is more than {EXPRESSION_DEPTH_MAX} levels deep")


def _check_depth(node: Node, depth: int) -> None:
    if depth > EXPRESSION_DEPTH_MAX:
        raise _too_deep()
    for child in children(node):
        _check_depth(child, depth + 1)


# --- the probe


def _conjuncts(node: Node) -> Iterator[Node]:
    """The terms that must all be truthy for the node to be true; the last of them must be true."""
    if isinstance(node, Logical) and node.op == "&&":
        for term in node.terms:
            yield from _conjuncts(term)
    else:
        yield node


def _probe(terms: list[Node]) -> tuple[str, str] | None:
    found: list[tuple[bool, tuple[str, str]]] = []
    for term in terms:
        match term:
            case Binary(op="==", left=Literal() as literal, right=other):
                pass
            case Binary(op="==", left=other, right=Literal() as literal):
                pass
            case _:
                continue
        path, text = _probe_path(other), probe_text(literal.value)
        if path is not None and text is not None:
            found.append((literal.given, (path, text)))
    # What comes from the run's own event tells its waits apart; a constant is the same for all of them.
    return max(found, key=lambda each: (each[0], each[1][1][0] != "b"))[1] if found else None


def _probe_path(node: Node) -> str | None:
    names = path_of(node)
    if names is None or names[0] != "async" or len(names) < 2 or any("." in name or not name for name in names):
        return None
    return ".".join(names[1:])


def probe_value(async_event: Mapping[str, Any], path: str) -> str | None:
    """The text of what an event has at a dotted path, as in ``Bound.probe``; None if no probe can equal it."""
    value: Any = async_event
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, Any]", value).get(name, MISSING)
    return probe_text(value)


# --- the replacement


class _Binder:
    def __init__(self, event: Mapping[str, Any]) -> None:
        self.event = event
        self.size = 0

    def bind(self, node: Node) -> Node:
        """The node without ``event``, and without what is known because of that."""
        path = path_of(node)
        if path is not None and path[0] != "event":
            return node
        names = _EVENT if path else _names(node)
        given = "event" in names
        if names <= _EVENT:
            known = self.evaluate(node, given)
            if known is not None or not given:
                return known or node
        rebuilt = self.rebuild(node)
        if _names(rebuilt):
            return rebuilt
        return self.evaluate(rebuilt, given) or rebuilt  # a choice that was made can leave nothing open

    def rebuild(self, node: Node) -> Node:
        """The same node over bound ones."""
        match node:
            case Literal() | Name():
                return node
            case Select():
                return Select(self.bind(node.target), node.field)
            case Index():
                return Index(self.bind(node.target), self.bind(node.key))
            case ListOf():
                return ListOf(tuple(map(self.bind, node.items)))
            case MapOf():
                return MapOf(tuple((self.bind(key), self.bind(value)) for key, value in node.entries))
            case Unary():
                return Unary(node.op, self.bind(node.operand))
            case Binary():
                return Binary(node.op, self.bind(node.left), self.bind(node.right))
            case Logical():
                return _logical(node.op, [self.bind(term) for term in node.terms])
            case Choice():
                return self.choice(node)
            case Call():
                return Call(node.name, tuple(map(self.bind, node.args)), node.method)
            case Has():
                return Has(cast("Select | Index", self.bind(node.path)))
            case Loop():
                condition = None if node.condition is None else self.bind(node.condition)
                return Loop(node.macro, self.bind(node.over), node.variable, self.bind(node.body), condition)

    def choice(self, node: Choice) -> Node:
        condition = self.bind(node.condition)
        if isinstance(condition, Literal):
            return self.bind(node.then if truthy(condition.value) else node.otherwise)
        return Choice(condition, self.bind(node.then), self.bind(node.otherwise))

    def evaluate(self, node: Node, given: bool) -> Node | None:
        """What the node gives, as a literal; None if it gives an error, which it must go on giving."""
        try:
            value = compile_node(node)(Frame({"event": self.event}, now_ms=0))
        except (EvaluationError, OverflowError, RecursionError):
            return None
        return self.literal(value, given, 1)

    def literal(self, value: Any, given: bool, depth: int) -> Node:
        if depth > EXPRESSION_DEPTH_MAX:
            raise _too_deep()
        if self.size > EVENT_BYTES_MAX:
            raise _too_large()
        self.size += len(value) if type(value) is str else 1
        match value:
            case list():
                return self.list_literal(value, given, depth)
            case dict():
                return self.map_literal(value, given, depth)
            case datetime():
                return Call("timestamp", (Literal(moment_text(value)),))
            case timedelta():
                return Call("duration", (Literal(duration_text(value)),))
            case Type():
                return Name(value.name)
            case int() if value.bit_length() > DECIMAL_BITS_MAX:
                raise _too_large()
            case float() if value != value or abs(value) == float("inf"):
                return Call("double", (Literal(str(value)),))
            case _:
                return Literal(value, given=given)

    def list_literal(self, items: list[Any], given: bool, depth: int) -> Node:
        return ListOf(tuple(self.literal(item, given, depth + 1) for item in items))

    def map_literal(self, entries: dict[Any, Any], given: bool, depth: int) -> Node:
        return MapOf(tuple((Literal(key), self.literal(item, given, depth + 1)) for key, item in entries.items()))


def _names(node: Node) -> frozenset[str]:
    """The variables a node reads, and ``now()`` if it asks for the time."""
    match node:
        case Literal():
            return _NONE
        case Name():
            return _NONE if node.name in TYPES else frozenset({node.name})
        case Loop():
            inner = _NONE.union(*map(_names, children(node)[1:]))
            return _names(node.over) | (inner - {node.variable})
        case Select():
            return _names(node.target)
        case Call() if FUNCTIONS[node.name].clock:
            return frozenset({"now()"}).union(*map(_names, node.args))
        case _:
            return _NONE.union(*map(_names, children(node)))


def _logical(op: str, terms: list[Node]) -> Node:
    """``&&`` or ``||`` without the terms that are known to make no difference."""
    deciding = op == "||"
    kept: list[Node] = []
    for position, term in enumerate(terms):
        if not isinstance(term, Literal):
            kept.append(term)
        elif truthy(term.value) is deciding:
            kept.append(term)
            break
        elif position == len(terms) - 1 and not (kept and _is_boolean(kept[-1]) and type(term.value) is bool):
            kept.append(term)  # it may be the result
    return kept[0] if len(kept) == 1 else Logical(op, tuple(kept))


def _is_boolean(node: Node) -> bool:
    match node:
        case Binary():
            return node.op in _COMPARISONS
        case Unary():
            return node.op == "!"
        case Logical():
            return all(map(_is_boolean, node.terms))
        case Loop():
            return node.macro not in ("map", "filter")
        case Literal():
            return type(node.value) is bool
        case _:
            return isinstance(node, Has)
