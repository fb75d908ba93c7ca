"""Expressions as the rest of Stepwell sees them: compiled once from text, evaluated on events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from stepwell.errors import InvalidExpression
from stepwell.expressions.bind import Bound, bind_node
from stepwell.expressions.check import check
from stepwell.expressions.compiler import compile_node
from stepwell.expressions.parser import parse
from stepwell.expressions.syntax import Node
from stepwell.expressions.values import MISSING, EvaluationError, Frame, key_text, quoted, type_name
from stepwell.limits import EXPRESSION_BYTES_MAX

_COMPILED_MAX = 1_024
_TOO_DEEP = "the data is nested too deeply"

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH_PART = re.compile(r"[\w$@:/-]+")


class KeyResult(Struct, frozen=True):
    """What an expression says about a key. Each flow control decides what a failure means to it (semantics §3.4).

    ``text`` is for hashing and for people: ``error`` if the evaluation failed, ``missing`` if the path does not exist.
    ``reason`` says why it failed. ``is_false`` is the literal ``false``, which takes the event out of some controls.
    """

    text: str
    failed: bool = False
    is_false: bool = False
    missing: bool = False
    reason: str = ""


class Expression:
    """A compiled expression. Immutable; get one from ``compile_expression``."""

    __slots__ = ("_node", "_run", "text")

    def __init__(self, text: str, node: Node, run: Callable[[Frame], Any]) -> None:
        self.text = text
        self._node = node
        self._run = run

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def evaluate(self, env: Mapping[str, Any], *, now_ms: int = 0) -> Any:
        """The value for these variables, or ``MISSING``; raises ``EvaluationError``.

        ``env`` holds parsed JSON by variable: ``{"event": {...}, "async": {...}}``. ``now_ms`` is what ``now()`` says.
        """
        try:
            return self._run(Frame(env, now_ms))
        except OverflowError:
            raise EvaluationError("a number or time is out of range") from None
        except RecursionError:
            raise EvaluationError(_TOO_DEEP) from None

    def matches(self, env: Mapping[str, Any], *, now_ms: int = 0) -> bool:
        """Whether it is true; raises ``EvaluationError`` too if it gives something other than a boolean.

        Missing is not true: a path that does not exist is never an error.
        """
        value = self.evaluate(env, now_ms=now_ms)
        if value is True or value is False:
            return value
        if value is MISSING:
            return False
        raise EvaluationError(f"a condition must give true or false, not {type_name(value)}")

    def key_result(self, env: Mapping[str, Any], *, now_ms: int = 0) -> KeyResult:
        """The value as the text of a key, the same for equal values; never raises."""
        try:
            value = self.evaluate(env, now_ms=now_ms)
            text = key_text(value)
        except (EvaluationError, RecursionError) as error:
            reason = error.message if isinstance(error, EvaluationError) else _TOO_DEEP
            return KeyResult("error", failed=True, reason=reason)
        return KeyResult(text, is_false=value is False, missing=value is MISSING)

    def bind(self, event: Mapping[str, Any]) -> Bound:
        """What remains to be asked about ``async`` once ``event`` is known; raises ``EvaluationError`` if too large."""
        return bind_node(self._node, event)


def compile_expression(
    text: str, *, variables: Sequence[str] = ("event",), restricted: bool = False, boolean: bool = False
) -> Expression:
    """Parse, check and compile an expression; raises ``InvalidExpression``, which shows where the mistake is.

    ``restricted`` allows comparisons only, as for cancellations (semantics §3.2). ``boolean`` refuses what can never be
    true. An expression without the variable ``event`` is one whose event was bound, and may be as long as an event.
    """
    if len(text) > EXPRESSION_BYTES_MAX:
        return _compile(text, tuple(variables), restricted, boolean)
    return _compile_once(text, tuple(variables), restricted, boolean)


def _compile(text: str, variables: tuple[str, ...], restricted: bool, boolean: bool) -> Expression:
    node = parse(text, bound="event" not in variables)
    check(text, node, variables=variables, restricted=restricted, boolean=boolean)
    return Expression(text, node, compile_node(node))


_compile_once = lru_cache(_COMPILED_MAX)(_compile)


def match_expression(path: str) -> str:
    """The expression for ``match="data.id"``: both events have the same value there; raises ``InvalidExpression``."""
    parts = path.split(".")
    if not all(map(_PATH_PART.fullmatch, parts)):
        raise InvalidExpression(
            what=f"match={path!r} is not a path",
            why="match compares one value of both events, named by words with dots between them",
            fix='write match="data.id", or a whole condition with if_exp',
        )
    steps = "".join(f".{part}" if _IDENTIFIER.fullmatch(part) else f"[{quoted(part)}]" for part in parts)
    return f"event{steps} == async{steps}"
