"""What can be known to be wrong with an expression before it is ever evaluated."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from stepwell.errors import InvalidExpression
from stepwell.expressions.functions import FUNCTIONS, RESTRICTED
from stepwell.expressions.parser import MACROS
from stepwell.expressions.regex import compile_pattern
from stepwell.expressions.syntax import (
    Binary,
    Call,
    Choice,
    Has,
    ListOf,
    Literal,
    Logical,
    Loop,
    MapOf,
    Name,
    Node,
    Unary,
    children,
)
from stepwell.expressions.tokens import invalid
from stepwell.expressions.values import TYPES

_ARITHMETIC = frozenset({"+", "-", "*", "/", "%"})

_VARIABLE_HINTS = {
    "async": "only the condition of a wait or a cancellation sees a second event",
    "data": "write event.data",
    "steps": "results of steps are not visible here; write the value into the expression's text",
    "user": "write event.user",
}


def check(text: str, node: Node, *, variables: Sequence[str], restricted: bool, boolean: bool) -> None:
    """Raise ``InvalidExpression`` if the expression cannot work with these variables, or is not allowed here."""
    checker = _Checker(text, variables, restricted)
    checker.visit(node, ())
    if boolean and not _can_be_true(node):
        raise invalid(
            text, node.at, "this is never true", "a condition needs a comparison, such as event.data.total > 10"
        )


class _Checker:
    def __init__(self, text: str, variables: Sequence[str], restricted: bool) -> None:
        self.text = text
        self.variables = variables
        self.restricted = restricted

    def refuse(self, node: Node, problem: str, fix: str = "") -> InvalidExpression:
        return invalid(self.text, node.at, problem, fix)

    def visit(self, node: Node, loop_variables: tuple[str, ...]) -> None:
        match node:
            case Name():
                self.name(node, loop_variables)
            case Call():
                self.call(node)
            case MapOf():
                for key, _ in node.entries:
                    self.map_key(key)
            case Loop():
                self.loop(node)
                self.visit(node.over, loop_variables)
                for child in children(node)[1:]:
                    self.visit(child, (*loop_variables, node.variable))
                return
            case Has() if self.restricted:
                raise self.restriction(node, "has()")
            case Binary(op=op) | Unary(op=op) if self.restricted and op in _ARITHMETIC:
                raise self.restriction(node, f"'{op}'")
            case _:
                pass
        for child in children(node):
            self.visit(child, loop_variables)

    def restriction(self, node: Node, what: str) -> InvalidExpression:
        return self.refuse(
            node,
            f"{what} cannot be used here",
            "a cancellation compares values; of the functions it has int, uint, double",
        )

    def name(self, node: Name, loop_variables: tuple[str, ...]) -> None:
        if node.name in self.variables or node.name in loop_variables or node.name in TYPES:
            return
        known = ", ".join(self.variables)
        fix = _VARIABLE_HINTS.get(node.name) or f"there is {known}; text needs quotes"
        raise self.refuse(node, f"'{node.name}' is not known here", fix)

    def call(self, node: Call) -> None:
        if node.name not in FUNCTIONS:
            close = difflib.get_close_matches(node.name, [*FUNCTIONS, *MACROS, "has"], n=1)
            fix = f"did you mean {close[0]}()?" if close else f"there are {', '.join(sorted(FUNCTIONS))}"
            raise self.refuse(node, f"there is no function {node.name}()", fix)
        if self.restricted and node.name not in RESTRICTED:
            raise self.restriction(node, f"{node.name}()")
        function = FUNCTIONS[node.name]
        if function.called not in ("both", "method" if node.method else "function"):
            usage = f"write {node.name}(x)" if node.method else f"write x.{node.name}()"
            raise self.refuse(node, f"{node.name}() is not called like this", usage)
        if not function.least <= len(node.args) <= function.most:
            raise self.refuse(
                node, f"{node.name}() has too {'few' if len(node.args) < function.least else 'many'} arguments"
            )
        match node:
            case Call(name="matches", args=(_, Literal(value=str() as pattern))):
                self.pattern(node, pattern)
            case _:
                pass

    def pattern(self, node: Call, pattern: str) -> None:
        try:
            compile_pattern(pattern)
        except ValueError as error:
            raise self.refuse(node, f"not a regular expression: {error}") from None

    def map_key(self, key: Node) -> None:
        if isinstance(key, Literal) and type(key.value) not in (str, int):
            raise self.refuse(key, "a key of a map is text or a whole number")

    def loop(self, node: Loop) -> None:
        if self.restricted:
            raise self.restriction(node, f"{node.macro}()")
        if node.variable in ("event", "async", *self.variables) or node.variable in TYPES:
            raise self.refuse(node, f"'{node.variable}' means something else here", "choose another name for the item")


def _can_be_true(node: Node) -> bool:
    match node:
        case Literal():
            return type(node.value) is bool
        case ListOf() | MapOf():
            return False
        case Unary():
            return node.op == "!"
        case Binary():
            return node.op not in _ARITHMETIC
        case Logical(op="&&"):
            return _can_be_true(node.terms[-1])
        case Logical():
            return any(map(_can_be_true, node.terms))
        case Choice():
            return _can_be_true(node.then) or _can_be_true(node.otherwise)
        case Call():
            return FUNCTIONS[node.name].boolean
        case Loop():
            return node.macro not in ("map", "filter")
        case Name():
            return node.name not in TYPES
        case _:
            return True
