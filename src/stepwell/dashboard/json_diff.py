"""What differs between two JSON texts, line by line as people read it, and no more of it than can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

import msgspec

from stepwell.limits import DIFF_BYTES_MAX, DIFF_LINES_MAX

SAME, GONE, NEW, LEFT_OUT = " ", "-", "+", "…"
_AROUND: Final = 3  # lines that are the same, before and after those that are not
_LINE_CHARS: Final = 2_000

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Line(NamedTuple):
    """``mark`` tells in which of the two it is. What changed within the line is ``changed``, between what did not."""

    mark: str
    before: str
    changed: str = ""
    after: str = ""


class Difference(NamedTuple):
    """``lines`` is empty if both say the ``same``. With ``more`` they differ elsewhere too, or cannot be compared here
    because they are too long."""

    lines: Sequence[Line]
    same: bool
    more: bool = False


_NONE: Final = Difference((), same=True)


def json_diff(before: bytes | None, after: bytes | None) -> Difference:
    """The order of the members of objects is no difference. What is no JSON is compared as text."""
    if before == after:
        return _NONE
    if max(len(before or b""), len(after or b"")) > DIFF_BYTES_MAX:
        return Difference((), same=False, more=True)
    return text_diff(_pretty(before), _pretty(after))


def text_diff(before: str, after: str) -> Difference:
    """Two texts of many lines. A comma at the end of one is no difference: JSON has one unless a line is the last."""
    left, right = before.splitlines(), after.splitlines()
    bare = [line.rstrip(",") for line in left], [line.rstrip(",") for line in right]
    if bare[0] == bare[1]:
        return _NONE
    matcher = SequenceMatcher(None, bare[0][:DIFF_LINES_MAX], bare[1][:DIFF_LINES_MAX])
    found: list[Line] = []
    for group in matcher.get_grouped_opcodes(_AROUND):
        if group[0][1]:
            found.append(Line(LEFT_OUT, ""))
        for tag, begin, end, other, other_end in group:
            if tag == "equal":
                found += [Line(SAME, _short(line)) for line in left[begin:end]]
            else:
                found += _changed(left[begin:end], right[other:other_end])
    more = max(len(left), len(right)) > DIFF_LINES_MAX
    return Difference(found[:DIFF_LINES_MAX], same=False, more=more or len(found) > DIFF_LINES_MAX)


def _changed(gone: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    if len(gone) != len(new):
        yield from (Line(GONE, _short(line)) for line in gone)
        yield from (Line(NEW, _short(line)) for line in new)
        return
    pairs = [_within(one, other) for one, other in zip(gone, new, strict=True)]
    yield from (Line(GONE, *left) for left, _ in pairs)
    yield from (Line(NEW, *right) for _, right in pairs)


def _within(one: str, other: str) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Both lines as what they begin with alike, what is different, and what they end with alike."""
    one, other = _short(one), _short(other)
    start = _alike(one, other)
    most = min(len(one), len(other)) - start
    end = _alike(one[::-1][:most], other[::-1][:most])
    return (
        (one[:start], one[start : len(one) - end], one[len(one) - end :]),
        (other[:start], other[start : len(other) - end], other[len(other) - end :]),
    )


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _short(line: str) -> str:
    return line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}…"


def _pretty(text: bytes | None) -> str:
    if text is None:
        return ""
    try:
        return msgspec.json.format(_encode(msgspec.json.decode(text)), indent=2).decode(errors="replace")
    except (msgspec.MsgspecError, RecursionError):
        return text.decode(errors="replace")
