"""How many bodies an app has at once, by the lines in which they note where they begin and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def at_once(lines: Iterable[Mapping[str, Any]], by: str = "") -> dict[Any, int]:
    """The most that there were at any moment, for each value of ``by``: a sweep over what was noted, in its order.
    When the app died, all of them were over."""
    now, most = Counter[Any](), Counter[Any]()
    for line in lines:
        value = line.get(by)
        if line["what"] == "begin":
            now[value] += 1
            most[value] = max(most[value], now[value])
        elif line["what"] == "died":
            now.clear()
        elif line["what"] == "end":
            now[value] -= 1
            assert now[value] >= 0, f"one ends that has not begun: {line}"
    return dict(most)


def begun(lines: Iterable[Mapping[str, Any]], **told: Any) -> list[Any]:
    """The numbers of the bodies that have begun, of those that noted this besides."""
    return [line["n"] for line in lines if line["what"] == "begin" and told.items() <= line.items()]
