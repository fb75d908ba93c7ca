"""What leads to what, as nodes and edges for the module that draws them (``assets/graph.js``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from stepwell.dashboard.states import state_of
from stepwell.dashboard.timeline import OWN_CODE, Bar, Timeline
from stepwell.limits import GRAPH_NODES_MAX
from stepwell.views.wording import span

BEGIN: Final = "begin"
END: Final = "end"
_FOR_EVER: Final = 1 << 62


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``tone`` and ``shape`` are those of a state, ``word`` says it. One with ``href`` leads to a page, one with
    ``step`` opens that step. One without a ``name`` is a place where lines meet."""

    id: str
    name: str = ""
    note: str = ""
    tone: str = "off"
    shape: str = ""
    word: str = ""
    href: str = ""
    step: str = ""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """``left_out`` is how many nodes there are besides."""

    nodes: Sequence[Node]
    edges: Sequence[tuple[str, str]]
    left_out: int = 0


def step_graph(timeline: Timeline, trigger: str, event: str) -> Graph:
    """The steps of a run, each after those that had to end for it to begin, as far as times and order tell: one that
    was first seen later than another, and began when that had ended, may have needed its result."""
    rows = [row for row in timeline.rows if row.id != OWN_CODE]
    shown = rows[:GRAPH_NODES_MAX]
    before = [_needed(shown, number) for number in range(len(shown))]
    nodes = [Node(id=BEGIN, name=trigger or "start", note="event", shape="events", tone="busy", href=event)]
    nodes += [_node(f"s{number}", row, timeline.now) for number, row in enumerate(shown)]
    edges: list[tuple[str, str]] = []
    joined: defaultdict[tuple[int, ...], list[str]] = defaultdict(list)
    for number, needed in enumerate(before):
        joined[needed].append(f"s{number}")
    followed = {each for needed in before for each in needed}
    last = tuple(number for number in range(len(shown)) if number not in followed)
    if timeline.ended is not None and len(rows) == len(shown):
        look = state_of(timeline.status)
        nodes.append(Node(id=END, name=look.word, note="run", tone=look.tone, shape=look.shape, word=look.word))
        joined[last].append(END)
    for place, (needed, followers) in enumerate(joined.items()):
        sources = [f"s{number}" for number in needed] or [BEGIN]
        if len(sources) > 1 and len(followers) > 1:  # each after all of these: they meet, or there were m times n lines
            meeting = f"m{place}"
            nodes.append(Node(id=meeting))
            edges += [(source, meeting) for source in sources]
            sources = [meeting]
        edges += [(source, follower) for follower in followers for source in sources]
    return Graph(nodes=nodes, edges=edges, left_out=len(rows) - len(shown))


def _needed(rows: Sequence[Bar], number: int) -> tuple[int, ...]:
    """Those that this row comes directly after: they had ended before it began, and no other lies between."""
    start = rows[number].start
    found: list[int] = []
    latest = -1
    for other in range(number - 1, -1, -1):
        row = rows[other]
        end = _FOR_EVER if row.end is None else row.end
        if end > start:
            continue
        if end > latest:
            found.append(other)
        latest = max(latest, row.start)
    return tuple(reversed(found))


def _node(id: str, row: Bar, now: int) -> Node:
    look = state_of(row.status)
    length = span((now if row.end is None else row.end) - row.start)
    tries = f" · {len(row.failed)} failed" if row.failed else ""
    return Node(
        id=id,
        name=row.name,
        note=f"{row.kind} · {length}{tries}",
        tone=look.tone,
        shape=look.shape,
        word=look.word,
        step=row.id,
    )
