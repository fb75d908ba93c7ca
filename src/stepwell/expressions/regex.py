"""Regular expressions in time linear in the text, for ``matches()``.

Python's ``re`` backtracks: one pattern and one event could occupy a server for hours, and no check of the pattern alone
rules that out. So this is an automaton, after Thompson ("Regular Expression Search Algorithm", 1968) and Cox ("Regular
Expression Matching Can Be Simple And Fast", 2007): it follows all alternatives at once and remembers the sets of
alternatives it has seen. The syntax is that of RE2, as in CEL, without Unicode classes such as ``\\pL``. Only whether
there is a match is asked, so groups do not capture and lazy quantifiers mean the same as greedy ones.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, cast

# One instruction costs memory and time for each character of a text.
_INSTRUCTIONS_MAX = 1_000
_TOO_LARGE = f"it is too large: repeated parts count as often as they repeat, and {_INSTRUCTIONS_MAX:,} fit"
_DEPTH_MAX = 50
_REPEAT_MAX = 1_000

# Remembered sets are dropped beyond this, so that a pattern cannot fill the memory.
_REMEMBERED_MAX = 20_000

_DIGITS: Final = (("0", "9"),)
_WORDS: Final = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACES: Final = (("\t", "\n"), ("\f", "\r"), (" ", " "))
_CLASSES: Final = {"d": _DIGITS, "w": _WORDS, "s": _SPACES}
_POSIX: Final = {
    "alnum": (("0", "9"), ("A", "Z"), ("a", "z")),
    "alpha": (("A", "Z"), ("a", "z")),
    "digit": _DIGITS,
    "lower": (("a", "z"),),
    "punct": (("!", "/"), (":", "@"), ("[", "`"), ("{", "~")),
    "space": (("\t", "\r"), (" ", " ")),
    "upper": (("A", "Z"),),
    "word": _WORDS,
    "xdigit": (("0", "9"), ("A", "F"), ("a", "f")),
}
_CONTROLS: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

Ranges = tuple[tuple[str, str], ...]


class Chars(NamedTuple):
    """An instruction: go on if the character is one of these."""

    ranges: Ranges
    negated: bool
    fold: bool

    def accept(self, char: str) -> bool:
        found = self._within(char) or (self.fold and (self._within(char.lower()) or self._within(char.upper())))
        return found != self.negated

    def _within(self, char: str) -> bool:
        for low, high in self.ranges:  # noqa: SIM110 - any() takes twice as long
            if low <= char <= high:
                return True
        return False


class Split(NamedTuple):
    """An instruction: go on at both places, given as distances from here."""

    first: int
    second: int


class Assert(NamedTuple):
    """An instruction: go on if the place between two characters is of this kind."""

    kind: str


Program = list[Chars | Split | Assert]


class _State:
    """A set of alternatives, at a place after ``before``, and where each next character leads."""

    __slots__ = ("before", "next", "threads")

    def __init__(self, threads: frozenset[int], before: str) -> None:
        self.threads = threads
        self.before = before
        self.next: dict[str, _State | None] = {}  # None: the pattern has matched


class Pattern:
    """A compiled pattern. ``size`` is the number of its instructions."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.size = len(program)
        self._forget()

    def _forget(self) -> None:
        self._states: dict[tuple[frozenset[int], str], _State] = {}
        self._remembered = 0
        self._start = self._state(frozenset(), "")

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in the text."""
        state = self._start
        for char in text:
            try:
                following = state.next[char]
            except KeyError:
                following = self._step(state, char)
            if following is None:
                return True
            state = following
        return self._step(state, "") is None

    def _state(self, threads: frozenset[int], before: str) -> _State:
        state = self._states.get((threads, before))
        if state is None:
            state = self._states[threads, before] = _State(threads, before)
            self._remembered += len(threads)
        return state

    def _step(self, state: _State, char: str) -> _State | None:
        threads = self._step_threads(state, char)
        self._remembered += 1
        if self._remembered > _REMEMBERED_MAX:
            self._forget()
        following = None if threads is None else self._state(threads, _kind(char))
        state.next[char] = following
        return following

    def _step_threads(self, state: _State, char: str) -> frozenset[int] | None:
        # A match may begin at each place, hence the 0.
        pending = [0, *state.threads]
        seen = set(pending)
        found: set[int] = set()
        while pending:
            at = pending.pop()
            if at == len(self._program):
                return None
            # The innermost loop: tests of types, because patterns of match statements take three times as long.
            instruction = self._program[at]
            if type(instruction) is Chars:
                if char and instruction.accept(char):
                    found.add(at + 1)
                continue
            if type(instruction) is Split:
                targets = (at + instruction.first, at + instruction.second)
            elif _holds(cast("Assert", instruction).kind, state.before, char):
                targets = (at + 1, at + 1)
            else:
                continue
            for target in targets:
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return frozenset(found)


def _kind(char: str) -> str:
    # Assertions ask no more about a character than this; fewer kinds make fewer states.
    if char == "\n" or not char:
        return char
    return "w" if _is_word(char) else "."


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


def _holds(kind: str, before: str, char: str) -> bool:
    match kind:
        case "A":
            return not before
        case "z":
            return not char
        case "^":
            return before in ("", "\n")
        case "$":
            return char in ("", "\n")
        case _:
            return ((before == "w") != _is_word(char)) == (kind == "b")


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """The automaton of a pattern; raises ``ValueError``, which says what is wrong with it."""
    compiler = _Compiler(text)
    program = compiler.alternatives()
    if compiler.at < len(text):
        raise ValueError("')' without '('")
    return Pattern(program)


class _Compiler:
    """Reads a pattern and returns its program, whose end is a match. Jumps are relative, so parts can be copied."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.flags: frozenset[str] = frozenset()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise ValueError("it ends too early")
        self.at += 1
        return char

    def accept(self, word: str) -> bool:
        found = self.text.startswith(word, self.at)
        self.at += len(word) * found
        return found

    def take_until(self, end: str) -> str:
        stop = self.text.find(end, self.at)
        if stop < 0:
            raise ValueError(f"'{end}' is missing")
        word, self.at = self.text[self.at : stop], stop + len(end)
        return word

    # --- structure

    def alternatives(self, depth: int = 0) -> Program:
        if depth > _DEPTH_MAX:
            raise ValueError(f"more than {_DEPTH_MAX} levels of brackets")
        branches = [self.sequence(depth)]
        while self.accept("|"):
            branches.append(self.sequence(depth))
        code = branches.pop()
        while branches:
            first = branches.pop()
            code = _fitting([Split(1, len(first) + 2), *first, Split(len(code) + 1, len(code) + 1), *code])
        return code

    def sequence(self, depth: int) -> Program:
        code: Program = []
        while self.peek() not in ("", "|", ")"):
            part = self.atom(depth)
            bounds = self.bounds()
            if bounds is not None:
                part = _repeated(part, *bounds)
                self.accept("?")  # lazy: which match is found makes no difference to whether there is one
                if self.bounds() is not None:
                    raise ValueError("a repetition of a repetition")
            code = _fitting(code + part)
        return code

    def bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.accept(sign):
                return bounds
        start = self.at
        if not self.accept("{"):
            return None
        low, comma, high = self.text[self.at : self.at + 10].partition("}")[0].partition(",")
        if not (low.isdecimal() and low.isascii() and (high.isdecimal() or not high)):
            self.at = start  # as in RE2, a brace that does not count is a brace
            return None
        self.take_until("}")
        most = int(high) if high else (None if comma else int(low))
        if int(low) > _REPEAT_MAX or (most is not None and not int(low) <= most <= _REPEAT_MAX):
            raise ValueError(f"a repetition must be in order and at most {_REPEAT_MAX:,}")
        return int(low), most

    def atom(self, depth: int) -> Program:
        char = self.take()
        if char == "(":
            return self.group(depth)
        if char == "[":
            return [self.bracket()]
        if char == "\\":
            return self.escape()
        if char == ".":
            return [Chars((), True, False) if "s" in self.flags else Chars((("\n", "\n"),), True, False)]
        if char in "^$":
            return [Assert(char if "m" in self.flags else {"^": "A", "$": "z"}[char])]
        if char in "*+?":
            raise ValueError(f"'{char}' has nothing to repeat")
        return [self.chars(((char, char),))]

    def group(self, depth: int) -> Program:
        outer = self.flags
        if self.accept("?"):
            if self.accept("P<") or self.accept("<"):
                if not self.take_until(">").isidentifier():
                    raise ValueError("a group can be given a name, but there is no looking ahead or behind")
            elif not self.accept(":") and self.set_flags():
                return []  # (?i) without a colon holds until the group around it ends
        code = self.alternatives(depth + 1)
        if not self.accept(")"):
            raise ValueError("'(' without ')'")
        self.flags = outer
        return code

    def set_flags(self) -> bool:
        adding = True
        while (char := self.take()) not in ":)":
            if char == "-":
                adding = False
            elif char not in "imsU":
                raise ValueError(f"(?{char} is not supported")
            else:
                self.flags = self.flags | {char} if adding else self.flags - {char}
        return char == ")"

    def chars(self, ranges: Ranges, negated: bool = False) -> Chars:
        return Chars(ranges, negated, "i" in self.flags)

    # --- escapes and classes

    def escape(self) -> Program:
        char = self.take()
        if char in ("A", "z", "b", "B"):
            return [Assert(char)]
        if char == "Q":
            return [self.chars(((each, each),)) for each in self.take_until("\\E")]
        if char.lower() in _CLASSES:
            return [self.chars(_CLASSES[char.lower()], char.isupper())]
        literal = self.literal_escape(char)
        return [self.chars(((literal, literal),))]

    def literal_escape(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x":
            digits = self.take_until("}") if self.accept("{") else self.take() + self.take()
            if (
                not 0 < len(digits) <= 6
                or not set(digits.lower()) <= set("0123456789abcdef")
                or int(digits, 16) > 0x10FFFF
            ):
                raise ValueError(f"{digits!r} is not a character in hexadecimal")
            return chr(int(digits, 16))
        if char.isalnum():
            raise ValueError(f"\\{char} is not supported")
        return char

    def bracket(self) -> Chars:
        negated = self.accept("^")
        ranges: list[tuple[str, str]] = []
        start = self.at
        while self.at == start or self.peek() != "]":  # a bracket that comes first is a character
            ranges += self.bracket_part()
        self.take()
        return self.chars(tuple(ranges), negated)

    def bracket_part(self) -> Ranges:
        if self.accept("[:"):
            inverted, name = self.accept("^"), self.take_until(":]")
            if name not in _POSIX:
                raise ValueError(f"[:{name}:] is not a class")
            return _complement(_POSIX[name]) if inverted else _POSIX[name]
        low = self.take()
        if low == "\\":
            low = self.take()
            if low.lower() in _CLASSES:
                ranges = _CLASSES[low.lower()]
                return _complement(ranges) if low.isupper() else ranges
            low = self.literal_escape(low)
        if self.peek() != "-" or self.text[self.at + 1 : self.at + 2] in ("", "]"):
            return ((low, low),)
        self.take()
        high = self.take()
        if high == "\\":
            high = self.literal_escape(self.take())
        if high < low:
            raise ValueError(f"the range {low}-{high} is in the wrong order")
        return ((low, high),)


def _complement(ranges: Ranges) -> Ranges:
    edges = ["\0"]
    for low, high in sorted(ranges):
        edges += [chr(ord(low) - 1), chr(ord(high) + 1)]
    edges.append(chr(0x10FFFF))
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def _repeated(code: Program, least: int, most: int | None) -> Program:
    copies = max(least, most or 0, 1)
    if len(code) * copies > _INSTRUCTIONS_MAX:
        raise ValueError(_TOO_LARGE)
    if most is None:
        if least:
            return [*code * least, Split(-len(code), 1)]
        return [Split(1, len(code) + 2), *code, Split(-len(code) - 1, -len(code) - 1)]
    result = code * least
    rest = (most - least) * (len(code) + 1)
    for done in range(0, rest, len(code) + 1):
        result += [Split(1, rest - done), *code]
    return _fitting(result)


def _fitting(code: Program) -> Program:
    if len(code) > _INSTRUCTIONS_MAX:
        raise ValueError(_TOO_LARGE)
    return code
