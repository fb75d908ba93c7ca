"""From text to tokens, and the message that shows where a text went wrong."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from stepwell.errors import InvalidExpression
from stepwell.expressions.values import UInt

# A number with more digits is not data, and reading it would take long.
_DIGITS_MAX = 400

# How much of a long line is shown around the mistake.
_SHOWN_CHARS = 60
_FIX = "compare and combine values of the event, as in event.data.total > 10 && event.data.kind == 'order'"

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | //[^\n]* )
  | (?P<foreign> === | !== | \?\? | \?\.(?![0-9]) | =(?!=) | &(?!&) | \|(?!\|) | [;`“”‘’] )
  | (?P<text> (?:[rR][bB]?|[bB][rR]?)? (?: \"\"\" | ''' | " | ' ) )
  | (?P<number> 0[xX][0-9a-fA-F]+[uU]?
              | (?: [0-9]*\.[0-9]+ | [0-9]+(?=[eE]) )(?:[eE][+-]?[0-9]+)?
              | [0-9]+[uU]? )
  | (?P<name> [A-Za-z_][A-Za-z0-9_]* )
  | (?P<op> == | != | <= | >= | && | \|\| | [-+*/%!<>?:.,()\[\]{}] )
    """,
    re.VERBOSE,
)

_FOREIGN = {
    "===": "write ==",
    "!==": "write !=",
    "=": "write == to compare",
    "&": "write &&",
    "|": "write ||",
    "??": "write ||, which also passes over what is missing or null",
    "?.": "write a plain dot; a path that does not exist is no error",
    ";": "an expression is one value, without a semicolon",
    "`": "write text in single or double quotes",
}
_CURLY_QUOTES = "write text in straight quotes, \" or '"

# Possessive, so that a text without an end is noticed in one pass.
_BODIES = {
    '"': re.compile(r'((?:[^\\\n"]++|\\.)*+)"'),
    "'": re.compile(r"((?:[^\\\n']++|\\.)*+)'"),
    '"""': re.compile(r'((?:[^\\]|\\.)*?)"""', re.DOTALL),
    "'''": re.compile(r"((?:[^\\]|\\.)*?)'''", re.DOTALL),
}
_RAW_BODIES = {
    '"': re.compile(r'([^\n"]*)"'),
    "'": re.compile(r"([^\n']*)'"),
    '"""': re.compile(r'(.*?)"""', re.DOTALL),
    "'''": re.compile(r"(.*?)'''", re.DOTALL),
}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "?": "?",
    '"': '"',
    "'": "'",
    "`": "`",
}


class Token(NamedTuple):
    """``kind`` is ``name``, ``op``, ``literal`` or ``end``; ``value`` is the word, the sign or the literal's value."""

    kind: str
    value: Any
    at: int


def tokenize(text: str) -> list[Token]:
    """The tokens of an expression, the last of them being its end; raises ``InvalidExpression``."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise invalid(text, at, f"{text[at]!r} has no meaning here")
        kind, word = str(found.lastgroup), found[0]
        if kind == "foreign":
            raise invalid(text, at, f"{word} is not part of the language", _FOREIGN.get(word, _CURLY_QUOTES))
        if kind == "text":
            value, end = _read_text(text, at, word)
            tokens.append(Token("literal", value, at))
        else:
            end = found.end()
            if kind == "number":
                tokens.append(Token("literal", _read_number(text, at, word, end), at))
            elif kind != "space":
                tokens.append(Token(kind, word, at))
        at = end
    tokens.append(Token("end", "", len(text)))
    return tokens


def _read_number(text: str, at: int, word: str, end: int) -> Any:
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        raise invalid(text, at, "this is neither a number nor a name", "write text in quotes")
    if len(word) > _DIGITS_MAX:
        raise invalid(text, at, f"the number has more than {_DIGITS_MAX} digits")
    unsigned = word[-1] in "uU"
    if word[:2] in ("0x", "0X"):
        value = int(word.rstrip("uU"), 16)
    elif not word.rstrip("uU").isdigit():
        fraction = float(word)
        if fraction == float("inf"):
            raise invalid(text, at, "the number is too large")
        return fraction
    else:
        value = int(word.rstrip("uU"))
    return UInt(value) if unsigned else value


def _read_text(text: str, at: int, opening: str) -> tuple[str | bytes, int]:
    prefix, quote = re.split("(?=[\"'])", opening, maxsplit=1)
    raw, binary = "r" in prefix.lower(), "b" in prefix.lower()
    found = (_RAW_BODIES if raw else _BODIES)[quote].match(text, at + len(opening))
    if found is None:
        raise invalid(text, at, "the text has no end", f"close it with {quote}")
    body = found[1]
    if not binary:
        return body if raw else _unescape(text, at, body, binary), found.end()
    # Bytes are the UTF-8 of what was written, except that an escape is a single byte.
    body = body.encode("utf-8", "surrogatepass").decode("latin-1")
    return (body if raw else _unescape(text, at, body, binary)).encode("latin-1"), found.end()


def _unescape(text: str, at: int, body: str, binary: bool) -> str:
    def replace(found: re.Match[str]) -> str:
        byte, short, long, octal, plain = found.groups()
        if plain in _PLAIN_ESCAPES:
            return _PLAIN_ESCAPES[plain]
        code = int(octal, 8) if octal else int(byte or short or long or "ffffffff", 16)
        if code > (0xFF if binary else 0x10FFFF):
            raise invalid(
                text, at, f"{found[0]!r} is not an escape", "write \\\\ for a backslash, or r'...' around the text"
            )
        return chr(code)

    return _ESCAPE.sub(replace, body) if "\\" in body else body


def invalid(text: str, at: int, problem: str, fix: str = _FIX) -> InvalidExpression:
    """The error for a mistake at one place of a text, which it points to."""
    line_at = text.rfind("\n", 0, at) + 1
    line = text[line_at:].split("\n", 1)[0]
    column = at - line_at
    start = max(0, column - _SHOWN_CHARS // 2)
    shown = "".join(char if char.isprintable() else " " for char in line[start : start + _SHOWN_CHARS])
    return InvalidExpression(
        what=f"invalid expression: {problem}",
        why=f"line {text.count(chr(10), 0, at) + 1}, column {column + 1}:\n    {shown}\n    {' ' * (column - start)}^",
        fix=fix,
    )
