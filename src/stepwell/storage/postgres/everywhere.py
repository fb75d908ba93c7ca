"""Questions about all shards as one statement each: in every shard the look that a question about that one takes.

Sixteen shards asked one after the other are sixteen times on the way to the server, for what it finds in a fraction of
that: a page of events took 300 ms and takes 20. The answers of the shards come together as they do where each is asked
by itself (``storage/gathering.py``).

What is on a page is spread over the shards by chance, but for what came together (ADR 0056). So each is asked for its
part of the page, with some beside it, and those that have more of the page than that are asked for all of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import isqrt
from typing import Any, Final, NamedTuple

from stepwell.model import questions as q
from stepwell.storage.gathering import gather
from stepwell.storage.postgres import queries as sql

Fetch = Callable[[str, tuple[Any, ...]], Awaitable[list[Any]]]

_PARAMETER: Final = re.compile(r"\$(\d+)")
_PAGE: Final = re.compile(r"(ORDER BY [a-zA-Z_, ]+) LIMIT \$(\d+)$")
_EACH: Final = """
SELECT s.shard, x.* FROM stepwell.shards AS s CROSS JOIN LATERAL ({} OFFSET 0) AS x"""
_OF_THESE: Final = " WHERE s.shard = ANY(${}::bigint[])"


class InAll(NamedTuple):
    """A text that asks all shards. Of one for a page, ``limit`` is where its values have how many of each shard; at
    their end there is how many of all, and which shards are asked."""

    text: str
    limit: int | None


def _in_all(text: str, *, cut: bool = True) -> InAll:
    """``$1``, the shard, is that of each row of ``shards``, so all other parameters come one earlier; before all other
    columns there is the shard. OFFSET keeps a look in one shard from becoming a join of them all."""
    last = max(int(number) for number in _PARAMETER.findall(text))
    inner = _PARAMETER.sub(lambda found: f"${int(found[1]) - 1}" if found[1] != "1" else "s.shard", text.strip())
    page = _PAGE.search(inner) if cut else None
    if page is None:
        return InAll(_EACH.format(inner), None)
    these = _OF_THESE.format(last + 1)
    return InAll(f"{_EACH.format(inner)}{these} {page[1]} LIMIT ${last}", int(page[2]) - 1)


async def asked(
    fetch: Fetch,
    shards: int,
    question: q.Question[Any],
    text: str,
    row: tuple[Any, ...],
    to_answer: Callable[[Any], Any],
) -> Any:
    """The answer to a question that a shard is asked by this text, which is one of ``IN_ALL``, and by ``row``, which
    begins with the shard."""
    known, row = IN_ALL[text], row[1:]
    if known.limit is None:
        return gather(question, list((await _answers(fetch, known.text, row, to_answer)).values()))
    where, limit = known.limit, row[known.limit]

    async def look(these: Iterable[int], of_each: int, of_all: int) -> dict[int, Any]:
        values = (*row[:where], of_each, *row[where + 1 :], of_all, tuple(these))
        return await _answers(fetch, known.text, values, to_answer)

    part = min(_part(limit, shards), limit)
    answers = await look(range(shards), part, part * shards if part < limit else limit)
    page = gather(question, list(answers.values()))
    # A shard may have more of the page if something comes after the last that it told.
    within = {id(one) for one in (page if len(page) < limit else page[:-1])}
    cut = [shard for shard, answer in answers.items() if len(answer) == part < limit and id(answer[-1]) in within]
    if cut:
        answers |= await look(cut, limit, limit)
        page = gather(question, list(answers.values()))
    return page


def _part(limit: int, shards: int) -> int:
    """How many of a page one shard may be expected to have, at most."""
    mean = -(-limit // shards)
    return mean + 3 * isqrt(mean) + 3


async def _answers(fetch: Fetch, text: str, row: tuple[Any, ...], to_answer: Callable[[Any], Any]) -> dict[int, Any]:
    """What each shard says, of those that say anything."""
    found = defaultdict[int, list[Any]](list)
    for shard, *columns in await fetch(text, row):
        found[shard].append(tuple(columns))
    return {shard: to_answer(rows) for shard, rows in found.items()}


# Without those that go from name to name (storage/postgres/names.py), and those that can end before the last shard.
IN_ALL: Final[Mapping[str, InAll]] = {
    text: _in_all(text)
    for text in (
        *(sql.GET_EVENT, sql.GET_ITEM, sql.GET_CELL, sql.ANY_CELL, sql.COUNT_SLOTS, sql.CHILDREN, sql.ANY_LEASE),
        *(sql.RUNS_OF_STATUS, sql.RUNS_OF_FUNCTION, sql.SKIPPED_EVENTS, sql.LIST_ORDERS, sql.RERUNS),
        *(sql.FIND_EVENTS, sql.SLOT_HOLDERS, sql.FOLLOWING_BACKLOG, sql.BACKLOG_ITEMS, sql.BACKLOG_FUNCTIONS),
        *(sql.FUNCTION_ITEMS, sql.COMING_ITEMS, sql.NEXT_DUE, sql.RUN_ENDINGS, sql.COUNT),
        *(sql.LIST_RUNS, sql.LIST_RUNS_OF_STATUS, sql.LIST_RUNS_OF_FUNCTION),
        *(sql.LIST_EVENTS, sql.LIST_EVENTS_OF_NAME),
        *(sql.LIST_AUDIT, sql.LIST_AUDIT_OF_WHO, sql.LIST_AUDIT_OF_TARGET),
    )
} | {sql.LIST_CELLS: _in_all(sql.LIST_CELLS, cut=False)}  # one may be in every shard, and counts once
"""By the text that asks one shard."""
