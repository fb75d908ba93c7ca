"""From text to a syntax tree: precedence climbing over tokens."""

from __future__ import annotations

from typing import Any, cast

from stepwell.errors import InvalidExpression
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
)
from stepwell.expressions.tokens import Token, invalid, tokenize
from stepwell.expressions.values import MISSING
from stepwell.limits import EVENT_BYTES_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_NODES_MAX

# How tightly an operator binds. All of them group from the left.
PRECEDENCE = {
    "||": 1,
    "&&": 2,
    "==": 3,
    "!=": 3,
    "<": 3,
    "<=": 3,
    ">": 3,
    ">=": 3,
    "in": 3,
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
}
MACROS = {"all": (2,), "exists": (2,), "exists_one": (2,), "filter": (2,), "map": (2, 3)}

WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "missing": MISSING}

# Words that CEL keeps for itself, and words of other languages with what to write instead.
_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop"}
    | {"package", "namespace", "return", "var", "void", "while"}
)
_FOREIGN_WORDS = {
    "and": "write &&",
    "or": "write ||",
    "not": "write !",
    "is": "write ==",
    "None": "write null",
    "nil": "write null",
    "undefined": "write null, which a path that does not exist equals",
    "True": "write true",
    "False": "write false",
}


def parse(text: str, *, bound: bool = False) -> Node:
    """The syntax tree of an expression; raises ``InvalidExpression``.

    A ``bound`` expression had event data written into it. It may be as long as an event, and have as many nodes as that
    gives, but it nests no deeper than any other.
    """
    limit = EVENT_BYTES_MAX if bound else EXPRESSION_BYTES_MAX
    size = len(text.encode("utf-8", "surrogatepass")) if len(text) <= limit else len(text)
    if size > limit:
        raise InvalidExpression(
            what=f"the expression is {size:,} bytes long",
            why=f"it is evaluated for each event; the limit is {limit:,} bytes",
            fix="compute the decision where the event is sent, and send its result in the event",
        )
    parser = _Parser(text, nodes_max=limit if bound else EXPRESSION_NODES_MAX)
    node = parser.expression()
    if parser.token.kind != "end":
        raise parser.unexpected(parser.token, "an operator or the end")
    _check_depth(text, node, 1)
    return node


def _check_depth(text: str, node: Node, depth: int) -> None:
    # The parser counts brackets; this counts what nests without them, such as 1 + 1 + 1 or a.b.c.
    if depth > EXPRESSION_DEPTH_MAX:
        raise _too_deep(text, node.at)
    for child in children(node):
        _check_depth(text, child, depth + 1)


def _too_deep(text: str, at: int) -> InvalidExpression:
    return invalid(text, at, f"more than {EXPRESSION_DEPTH_MAX} levels deep", "split it, or compute it before sending")


class _Parser:
    def __init__(self, text: str, nodes_max: int) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.position = 0
        self.token = self.tokens[0]
        self.depth = 0
        self.nodes_left = nodes_max

    # --- tokens

    def advance(self) -> Token:
        token = self.token
        if token.kind != "end":
            self.position += 1
            self.token = self.tokens[self.position]
        return token

    def accept(self, sign: str) -> bool:
        if self.token.kind == "op" and self.token.value == sign:
            self.advance()
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise self.unexpected(self.token, f"'{sign}'")

    def expect_name(self) -> str:
        if self.token.kind != "name":
            raise self.unexpected(self.token, "a name")
        return cast("str", self.advance().value)

    def unexpected(self, token: Token, expected: str) -> InvalidExpression:
        if token.kind == "end":
            return invalid(self.text, token.at, f"it ends where {expected} is expected")
        found = f"'{token.value}'" if token.kind in ("op", "name") else "a literal"
        fix = _FOREIGN_WORDS.get(token.value, "") if token.kind == "name" else ""
        return invalid(self.text, token.at, f"{found} stands where {expected} is expected", fix)

    def made(self, node: Node) -> Node:
        self.nodes_left -= 1
        if self.nodes_left < 0:
            raise invalid(self.text, node.at, f"more than {EXPRESSION_NODES_MAX:,} parts", "split it into several")
        return node

    # --- grammar, from loose to tight

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > EXPRESSION_DEPTH_MAX:
            raise _too_deep(self.text, self.token.at)
        node = self.binary(1)
        at = self.token.at
        if self.accept("?"):
            then = self.expression()
            self.expect(":")
            node = self.made(Choice(node, then, self.expression(), at))
        self.depth -= 1
        return node

    def binary(self, loosest: int) -> Node:
        left = self.unary()
        chain: Logical | None = None  # an && or || made here, not one in brackets
        while True:
            token = self.token
            level = PRECEDENCE.get(token.value, 0) if token.kind in ("op", "name") else 0
            if level == 0 or level < loosest:
                return left
            self.advance()
            right = self.binary(level + 1)
            if level > 2:
                left = self.made(Binary(token.value, left, right, token.at))
            else:
                terms = chain.terms if chain and chain.op == token.value else (left,)
                left = chain = Logical(token.value, (*terms, right), token.at)
                self.made(left)

    def unary(self) -> Node:
        token = self.token
        if token.kind == "op" and token.value in ("!", "-"):
            self.advance()
            follower = self.token
            if token.value == "-" and follower.kind == "literal" and type(follower.value) in (int, float):
                return self.postfix(self.made(Literal(-self.advance().value, token.at)))
            self.depth += 1
            if self.depth > EXPRESSION_DEPTH_MAX:
                raise _too_deep(self.text, token.at)
            node = self.made(Unary(token.value, self.unary(), token.at))
            self.depth -= 1
            return node
        return self.postfix(self.primary())

    def postfix(self, node: Node) -> Node:
        while True:
            at = self.token.at
            if self.accept("."):
                field = self.expect_name()
                node = self.method(node, field, at) if self.accept("(") else self.made(Select(node, field, at))
            elif self.accept("["):
                node = self.made(Index(node, self.expression(), at))
                self.expect("]")
            else:
                return node

    def primary(self) -> Node:
        token = self.advance()
        if token.kind == "literal":
            return self.made(Literal(token.value, token.at))
        if token.kind == "name":
            return self.named(token.value, token.at)
        if token.value == "(":
            node = self.expression()
            self.expect(")")
            return node
        if token.value == "[":
            return self.made(ListOf(self.items("]"), token.at))
        if token.value == "{":
            return self.made(MapOf(self.entries(), token.at))
        raise self.unexpected(token, "a value")

    def named(self, word: str, at: int) -> Node:
        if word in WORDS:
            return self.made(Literal(WORDS[word], at))
        if word in _RESERVED or word in _FOREIGN_WORDS or word == "in":
            raise invalid(self.text, at, f"'{word}' is not part of the language", _FOREIGN_WORDS.get(word, ""))
        if self.accept("("):
            return self.function(word, at)
        if word == "google":
            while self.accept("."):
                word += "." + self.expect_name()
        return self.made(Name(word, at))

    def function(self, name: str, at: int) -> Node:
        args = self.items(")")
        if name != "has":
            return self.made(Call(name, args, at=at))
        if len(args) != 1 or not isinstance(args[0], Select | Index):
            raise invalid(self.text, at, "has() takes one path", "write has(event.data.id)")
        return self.made(Has(args[0], at))

    def method(self, target: Node, name: str, at: int) -> Node:
        args = self.items(")")
        if name not in MACROS:
            return self.made(Call(name, (target, *args), method=True, at=at))
        example = f"write items.{name}(item, item.price > 10)"
        if len(args) not in MACROS[name] or not isinstance(args[0], Name) or "." in args[0].name:
            raise invalid(self.text, at, f"{name}() takes a name for the item and what to do with it", example)
        condition = args[1] if len(args) == 3 else None
        return self.made(Loop(name, target, args[0].name, args[-1], condition, at))

    def items(self, closing: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self.accept(closing):
            found.append(self.expression())
            if not self.accept(","):
                self.expect(closing)
                break
        return tuple(found)

    def entries(self) -> tuple[tuple[Node, Node], ...]:
        found: list[tuple[Node, Node]] = []
        while not self.accept("}"):
            key = self.expression()
            self.expect(":")
            found.append((key, self.expression()))
            if not self.accept(","):
                self.expect("}")
                break
        return tuple(found)
