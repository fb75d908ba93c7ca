"""Where our rules are those of CEL, we agree with Google's implementation of it, on thousands of random expressions.

The generator stays within the common part: no path is missing, no operand is null or of an unlike type, and conditions
are booleans. Errors are part of the comparison: division by zero, overflow and conversions that fail must fail in both.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import cel_expr_python.cel as cel
import pytest
from msgspec.structs import replace

from stepwell.expressions import EvaluationError
from stepwell.expressions.compiler import compile_node
from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.parser import parse
from stepwell.expressions.values import OPERATIONS, Frame, type_name

CASES = 4_000
SEED = 20_240_301

EVENT: dict[str, Any] = {
    "data": {
        "zero": 0,
        "one": 1,
        "seven": 7,
        "minus": -3,
        "big": 2**62,
        "half": 0.5,
        "two": 2.0,
        "neg": -1.25,
        "word": "word",
        "Word": "Wörd",
        "digits": "42",
        "empty": "",
        "yes": True,
        "no": False,
        "ints": [1, 2, 3, 7],
        "floats": [1.0, 0.5],
        "words": ["a", "word", ""],
        "none": [],
        "map": {"a": 1, "word": 7},
        "nil": None,
    }
}
PATHS = {
    "int": ["zero", "one", "seven", "minus", "big"],
    "double": ["half", "two", "neg"],
    "string": ["word", "Word", "digits", "empty"],
    "bool": ["yes", "no"],
    "ints": ["ints", "none"],
    "strings": ["words", "none"],
    "map": ["map"],
}
LITERALS = {
    "int": ["0", "1", "-2", "3", "10", "9223372036854775807", "-9223372036854775808", "0x1f"],
    "double": ["0.0", "1.0", "-2.5", "1e3", "0.25"],
    "uint": ["0u", "1u", "7u", "18446744073709551615u"],
    "string": ["''", "'a'", '"word"', "'42'", "'-7'", "'true'", "'1.5'", r"'\u00e9\n'", "r'\\d'"],
    "bytes": ["b''", "b'ab'", r"b'\xff'", "b'é'"],
    "bool": ["true", "false"],
    "ints": ["[]", "[1, 2]", "[7, 7, 0]"],
    "strings": ["['a', 'b']", "['word']"],
    "map": ["{}", "{'a': 1}", "{'word': 7, 'a': 1}"],
    "timestamp": [
        "timestamp('2024-02-29T23:59:59Z')",
        "timestamp('1969-12-31T00:00:00.25+01:30')",
        "timestamp('1999-01-01T00:00:00Z')",
        "timestamp(1700000000)",
    ],
    "duration": ["duration('1h30m')", "duration('-1.5s')", "duration('0s')", "duration('250ms')", "duration('100h')"],
}
ORDERED = ["int", "double", "string", "bool", "uint", "bytes", "timestamp", "duration"]
PATTERNS = ["'a'", "'^w.*d$'", r"'[0-9]+'", r"'\\d{2}'", "'(a|o)r?d'", "'^$'", r"'\\bw'", "'(?i)WORD'", "'[^a-z]'"]


class Generator:
    """Expressions of a wanted type. In a template, what stands between backticks is a type to fill in.

    T is one type for the whole template; i:int may use the loop variable ``i``, which is a whole number.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def make(self, kind: str, depth: int, item: bool = False) -> str:
        if depth <= 0 or self.random.random() < 0.15:
            return self.leaf(kind, item)
        template = self.random.choice(RULES[kind]).replace("`T`", f"`{self.random.choice(ORDERED)}`")
        parts = template.split("`")
        parts[1::2] = [self.fill(part, depth - 1, item) for part in parts[1::2]]
        return f"({''.join(parts)})"

    def leaf(self, kind: str, item: bool) -> str:
        if item and kind == "int" and self.random.random() < 0.5:
            return "i"
        paths = [f"event.data.{name}" for name in PATHS.get(kind, [])]
        return self.random.choice(paths + LITERALS.get(kind, []))

    def fill(self, part: str, depth: int, item: bool) -> str:
        if part == "pattern":
            return self.random.choice(PATTERNS)
        if part == "path":
            return "event.data." + self.random.choice([*EVENT["data"]])
        return self.make(part.removeprefix("i:"), depth, item or part.startswith("i:"))


COMMON = ["`bool` ? `{0}` : `{0}`"]
RULES = {
    "bool": [
        *["`T` == `T`", "`T` != `T`", "`T` < `T`", "`T` <= `T`", "`T` > `T`", "`T` >= `T`"],
        *["`bool` && `bool`", "`bool` || `bool`", "`bool` && `bool` || `bool`", "!`bool`", "`bool` ? `bool` : `bool`"],
        *["`int` in `ints`", "`string` in `strings`", "`string` in `map`", "`ints` == `ints`", "`map` != `map`"],
        *["`path` == `path`", "`path` != `path`", "has(event.data.word)", "has(event.data.other)"],
        *["`string`.contains(`string`)", "`string`.startsWith(`string`)", "`string`.endsWith(`string`)"],
        *["`string`.matches(`pattern`)", "matches(`string`, `pattern`)", "bool(`string`)", "bool(`bool`)"],
        *["`ints`.all(i, `i:bool`)", "`ints`.exists(i, `i:bool`)", "`ints`.exists_one(i, `i:bool`)"],
        *[
            "`ints`.exists(i, i == `i:int`)",
            "`ints`.all(i, i < `i:int`)",
            "type(`T`) == type(`T`)",
            "type(`path`) == int",
        ],
        *[
            "event.data.minus == dyn(`double`)",
            "event.data.one < dyn(`double`)",
            "dyn(`uint`) >= dyn(`int`)",
            "dyn(`bool`) == dyn(`int`)",
        ],
    ],
    "int": [
        *["`int` + `int`", "`int` - `int`", "`int` * `int`", "`int` / `int`", "`int` % `int`", "-(`int`)", *COMMON],
        *[
            "size(`string`)",
            "`ints`.size()",
            "size(`map`)",
            "size(`bytes`)",
            "int(`string`)",
            "int(`double`)",
            "int(`uint`)",
        ],
        *["int(`timestamp`)", "`timestamp`.getFullYear()", "`timestamp`.getMonth()", "`timestamp`.getDate()"],
        *[
            "`timestamp`.getDayOfWeek()",
            "`timestamp`.getDayOfYear()",
            "`timestamp`.getDayOfMonth()",
            "`timestamp`.getHours()",
        ],
        *[
            "`timestamp`.getMinutes('+05:30')",
            "`timestamp`.getHours('America/New_York')",
            "`timestamp`.getMilliseconds()",
        ],
        *[
            "`duration`.getHours()",
            "`duration`.getMinutes()",
            "`duration`.getSeconds()",
            "`duration`.getMilliseconds()",
        ],
        *["event.data.ints[1]", "event.data.map.a", "event.data.map['word']", "[`int`, `int`][1]", "{'k': `int`}.k"],
    ],
    "double": [
        *[
            "`double` + `double`",
            "`double` - `double`",
            "`double` * `double`",
            "`double` / `double`",
            "-(`double`)",
            *COMMON,
        ],
        *["double(`int`)", "double(`string`)", "double(`uint`)"],
    ],
    "uint": [
        "`uint` + `uint`",
        "`uint` - `uint`",
        "`uint` * `uint`",
        "`uint` / `uint`",
        "`uint` % `uint`",
        "uint(`int`)",
        *COMMON,
    ],
    "string": [
        "`string` + `string`",
        "string(`int`)",
        "string(`bool`)",
        "string(`uint`)",
        "string(`bytes`)",
        *COMMON,
    ],
    "bytes": ["`bytes` + `bytes`", "bytes(`string`)", *COMMON],
    "ints": [
        "`ints` + `ints`",
        "`ints`.map(i, `i:int`)",
        "`ints`.filter(i, `i:bool`)",
        "`ints`.map(i, `i:bool`, `i:int`)",
        *COMMON,
    ],
    "strings": ["`strings` + `strings`", "[`string`, `string`]", "`ints`.map(i, `i:string`)", *COMMON],
    "map": ["{'a': `int`, 'b': `int`}", *COMMON],
    "timestamp": ["`timestamp` + `duration`", "`timestamp` - `duration`", *COMMON],
    "duration": ["`duration` + `duration`", "`duration` - `duration`", "`timestamp` - `timestamp`", *COMMON],
}
RULES = {kind: [rule.replace("{0}", kind) for rule in rules] for kind, rules in RULES.items()}


_OURS = {"google.protobuf.Timestamp": "TIMESTAMP", "google.protobuf.Duration": "DURATION", "null_type": "NULL"}


def typed(value: Any) -> Any:
    """The value, such that 1, 1.0 and true differ at any depth."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, bytearray):
        value = bytes(value)
    return type(value).__name__, repr(value)


def theirs(environment: Any, text: str) -> Any:
    result = environment.compile(text, disable_check=True).eval(data={"event": EVENT})
    kind = result.type().name().split("<")[0]
    return "error" if kind == "ERROR" else (kind, typed(result.plain_value()))


def ours(text: str) -> Any:
    try:
        value = compile_node(parse(text))(Frame({"event": EVENT}, now_ms=0))
    except (EvaluationError, OverflowError):
        return "error"
    kind = _OURS.get(type_name(value), type_name(value).upper())
    return kind, typed(int(value) if kind == "UINT" else value)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What CEL says about each generated expression."""
    environment = cel.NewEnv(variables={"event": cel.Type.DYN})
    generator = Generator(SEED)
    texts: set[str] = set()
    while len(texts) < CASES:
        texts.add(generator.make(generator.random.choice([*RULES, "bool", "bool"]), depth=3))
    return {text: theirs(environment, text) for text in sorted(texts)}


def differences(answers: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for text, answer in answers.items():
        mine = ours(text)
        if mine != answer:
            yield text, answer, mine


@pytest.mark.slow
def test_we_agree_with_cel(answers: dict[str, Any]):
    assert list(differences(answers)) == []


def test_the_comparison_covers_values_of_all_types_and_errors(answers: dict[str, Any]):
    kinds = [answer if answer == "error" else answer[0] for answer in answers.values()]

    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    assert min(counts.values()) >= 50, counts
    assert counts["error"] < CASES / 3
    assert len(counts) == 11


def _floor_division(left: Any, right: Any, _frame: Frame) -> Any:
    if right == 0:
        raise EvaluationError("")
    return left / right if isinstance(left, float) else type(left)(left // right)


WRONG_RULES: list[tuple[dict[str, Any], str, Callable[..., Any]]] = [
    (OPERATIONS, "/", _floor_division),
    (OPERATIONS, "==", lambda left, right, _frame: left == right),  # to Python, true is 1
    (OPERATIONS, "<", OPERATIONS["<="]),
    (OPERATIONS, "in", lambda left, right, _frame: True),
    (OPERATIONS, "+", lambda left, right, _frame: left + right),  # without overflow
]


@pytest.mark.parametrize(("table", "name", "wrong"), WRONG_RULES, ids=[rule[1] for rule in WRONG_RULES])
def test_a_wrong_rule_would_be_noticed(
    answers: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    table: dict[str, Any],
    name: str,
    wrong: Callable[..., Any],
):
    monkeypatch.setitem(table, name, wrong)
    if name == "==":
        monkeypatch.setattr("stepwell.expressions.compiler.equal", wrong)

    assert next(differences(answers), None)


def test_a_wrong_function_would_be_noticed(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    bytes_of = FUNCTIONS["bytes"].run
    in_bytes = replace(
        FUNCTIONS["size"], run=lambda frame, value: len(bytes_of(frame, value) if isinstance(value, str) else value)
    )
    monkeypatch.setitem(FUNCTIONS, "size", in_bytes)

    assert next(differences(answers), None)
