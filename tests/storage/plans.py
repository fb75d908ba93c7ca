"""What a statement does on PostgreSQL, as a real server plans it: which tables it reads and writes, found how."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_BY_SHARD = re.compile(r"\((?:\w+\.)?shard = (?:'?(\$\d+)'?(?:::bigint)?|(\w+)\.shard)\)")
_JOINED = re.compile(r"\((\w+)\.shard = (\w+)\.shard\)")
_PARAMETER = re.compile(r"\$\d+")


class Look(NamedTuple):
    """How rows of a table are found: by a parameter, by the shard of another table, or not by their shard."""

    table: str
    by: str | None


class Write(NamedTuple):
    """A table that rows are written to. Of new rows, the parameter that is their shard."""

    table: str
    new: bool
    shard: str | None


class Statement(NamedTuple):
    """All places in a plan where rows are found or written, and whether rows are locked that are only read."""

    looks: tuple[Look, ...]
    writes: tuple[Write, ...]
    locks: bool


async def plan_of(connection: Any, text: str) -> Statement:
    """Ask the server. Raises what asyncpg does if the statement is not valid, or names no schema."""
    await connection.execute(f"PREPARE asked AS {text}")
    try:
        ((types,),) = await connection.fetch(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
        )
        values = f"({', '.join(['NULL'] * types)})" if types else ""
        ((said,),) = await connection.fetch(f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE asked{values}")
    finally:
        await connection.execute("DEALLOCATE asked")
    return read(json.loads(said)[0]["Plan"])


def read(plan: Mapping[str, Any]) -> Statement:
    """What is in a plan."""
    joined = dict[str, str]()
    for node in _nodes(plan):
        for name in ("Hash Cond", "Merge Cond", "Join Filter", "Index Cond", "Filter"):
            for one, other in _JOINED.findall(node.get(name, "")):
                joined |= {one: other, other: one}
    looks: list[Look] = []
    writes: list[Write] = []
    locks = False
    for node in _nodes(plan):
        locks |= node["Node Type"] == "LockRows"
        table = node.get("Relation Name")
        if table is None:
            continue
        if node["Node Type"] == "ModifyTable":
            new = node["Operation"] == "Insert"
            writes.append(Write(table, new, _written(node) if new else None))
        else:
            looks.append(Look(table, _found_by(node) or joined.get(node["Alias"])))
    return Statement(tuple(looks), tuple(writes), locks)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _found_by(node: Mapping[str, Any]) -> str | None:
    conditions = (node.get(name, "") for name in ("Index Cond", "Recheck Cond", "Filter"))
    for condition in conditions:
        # An alternative that is not by the shard would be one beside OR, in brackets of its own.
        for one in _conjuncts(condition):
            found = _BY_SHARD.fullmatch(one)
            if found:
                return found[1] or found[2]
    return None


def _conjuncts(condition: str) -> list[str]:
    """The parts of ``(a AND b)``; a condition without AND is one part."""
    inner = condition[1:-1] if condition.startswith("((") else condition
    parts: list[str] = []
    depth, begin, quoted = 0, 0, False
    for place, letter in enumerate(inner):
        quoted ^= letter == "'"
        depth += 0 if quoted else (letter == "(") - (letter == ")")
        if depth == 0 and inner.startswith(" AND ", place):
            parts.append(inner[begin:place])
            begin = place + 5
    return [*parts, inner[begin:]]


def _written(node: Mapping[str, Any]) -> str | None:
    """The shard of new rows: the first column of each table that has one."""
    for child in node.get("Plans", ()):
        if child.get("Parent Relationship") in ("Outer", "Member"):
            found = _PARAMETER.search(child["Output"][0])
            return found[0] if found else None
    return None
