"""What the ledger of the bodies and the database say against each other, when everything has come to its end."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import apsw

from stepwell.testing.audit import Interval, audit_file, too_many_at_once

_RULED = {"throttled": 10, "rated": 3, "single": 3, "latest": 2, "batched": 2, "places": 10}
_STARTED_BY = {
    **dict.fromkeys(("sequence", "parallel", "flaky", "waiter", "answerer", "parent", "sync"), 1),
    "limited": 2,
    **_RULED,
}
"""By every how manieth event."""

_ORDER = {
    "sequence": ["s0", "s1", "s2", "s3", "s4"],
    "waiter": ["before", "answer", "after"],
    "parent": ["child", "thank"],
    "limited": ["alone", "rest", "again"],
    "sync": ["one", "rest", "two"],
    **{name: ["work", "rest"] for name in _RULED},
}
"""In which the steps come of functions that do one thing at a time."""

_OUTCOMES = """
SELECT event_id, function_id FROM runs WHERE batch IS NULL
UNION ALL SELECT e.event_id, r.function_id FROM runs AS r JOIN run_events AS e ON e.run_id = r.id WHERE r.batch > 0
UNION ALL SELECT event_id, function_id FROM outcomes"""

_FAILED = """
SELECT a.run_id, s.name, a.attempt FROM attempts AS a
  JOIN steps AS s ON s.shard = a.shard AND s.run_id = a.run_id AND s.id = a.step_id"""
_LOST = """
SELECT run_id FROM notes WHERE kind = 'lease-lost'
UNION ALL SELECT run_id FROM attempts WHERE json_extract(CAST(error AS TEXT), '$.code') = 'unreachable'"""


def violations(
    folder: Path, acknowledged: dict[str, int], deaths: list[int], *, waited_ms: int = 0
) -> tuple[list[str], dict[str, int]]:
    """What the ledger and the database say against each other (invariants I1, I2, I4 to I7, I9 to I14, I19 to
    I23). ``waited_ms`` is how long an event may have waited while others decided about its window."""
    db = apsw.Connection(str(folder / "crash.db"), flags=apsw.SQLITE_OPEN_READONLY)
    found: list[str] = []
    stored = {row[0] for row in db.execute("SELECT id FROM events")}
    found += [f"I1: acknowledged event {event} is lost" for event in acknowledged if event not in stored]
    starts: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    lines = [json.loads(line) for line in (folder / "ledger").read_text().splitlines()]
    for entry in lines:
        if "run" in entry:
            starts[entry["run"], entry["step"]].append(entry)
    limited = {row[0] for row in db.execute("SELECT id FROM runs WHERE function_id = 'crash-limited'")}
    found += overlapping([entry for entry in lines if entry.get("run", entry.get("over")) in limited], deaths)
    found += [str(violation) for violation in audit_file(folder / "crash.db", waited_ms=waited_ms)]
    failed: dict[tuple[str, str], set[int]] = defaultdict(set)  # also those whose app could not be reached
    for run, step, attempt in db.execute(_FAILED):
        failed[run, step].add(attempt)
    first = "SELECT run_id, min(at) FROM notes WHERE kind = 'lease-lost' GROUP BY run_id"
    losses: dict[str, int] = dict(db.execute(first))

    def lapsed(run: str, at: int) -> bool:
        """A call that was fenced off begins what comes next until it reports again (ADR 0037). ``_began_again`` counts
        how often."""
        return at >= losses.get(run, at + 1)

    bodies = 0
    for run, step, status, ended in db.execute("SELECT run_id, name, status, ended_at FROM steps WHERE kind = 'run'"):
        mine = starts.pop((run, step), [])
        bodies += len(mine)
        if not mine:
            found.append(f"I5: step {step} of {run} has a result and never ran")
        if status != "COMPLETED":
            found.append(f"I10: step {step} of {run} is {status}")
        found += [
            f"I4: step {step} of {run} ran again {entry['at'] - ended} ms after its result was recorded"
            for entry in mine
            if ended is not None and entry["at"] > ended and not lapsed(run, entry["at"])
        ]
        attempts = sorted({entry["attempt"] for entry in mine} | failed[run, step])
        if mine and attempts != list(range(len(attempts))):
            found.append(f"I6: step {step} of {run} was tried with the attempts {attempts}")
    found += [f"I5: step {step} of {run} ran and is not recorded" for run, step in starts]
    for run, status, output in db.execute("SELECT id, status, output FROM runs WHERE status != 'COMPLETED'"):
        found.append(f"I10: run {run} is {status}: {output!r}")
    sent = {
        row[0]: (json.loads(row[1]), row[2] or row[0])
        for row in db.execute("SELECT id, data, key FROM events WHERE name = 'crash/go' AND NOT copied")
    }
    found += _outcomes(db, sent)
    found += _began_again(db, lines)
    found += _disordered(db)
    for table in ("items WHERE kind <> 'cron'", "waits", "slots"):
        left = db.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
        if left:
            found.append(f"I11/I13: {left} rows are left in {table}")
    runs = db.execute("SELECT count(*) FROM runs").fetchall()[0][0]
    accepted = db.execute("SELECT count(*) FROM events WHERE name IN ('crash/go', 'crash/counted') AND NOT copied")
    events = accepted.fetchall()[0][0]
    db.close()
    return found, {"events": events, "acknowledged": len(acknowledged), "runs": runs, "bodies": bodies}


def _outcomes(db: apsw.Connection, sent: dict[str, tuple[Any, str]]) -> list[str]:
    """I2, I19: each event has one outcome for each function that it matches, and each id that a client gave one run."""
    found: list[str] = []
    runs: dict[tuple[str, str], int] = defaultdict(int)
    for event, function in db.execute("SELECT event_id, function_id FROM runs"):
        if event in sent:
            runs[sent[event][1], function.removeprefix("crash-")] += 1
    outcomes: dict[tuple[str, str], int] = defaultdict(int)
    for event, function in db.execute(_OUTCOMES):
        outcomes[event, function.removeprefix("crash-")] += 1
    for (event,) in db.execute("SELECT id FROM events WHERE name = 'crash/counted' AND NOT copied"):
        if (count := outcomes.get((event, "limited"), 0)) != 1:
            found.append(f"I2: event {event}, which is where its run is counted, has {count} outcomes for limited")
    for event, (data, key) in sent.items():
        for function, every in _STARTED_BY.items():
            wanted = 1 if data["n"] % every == 0 else 0
            if (count := outcomes.get((event, function), 0)) != wanted:
                found.append(f"I2: event {event} has {count} outcomes for {function}")
            if function not in _RULED and (count := runs.get((key, function), 0)) != wanted:
                found.append(f"I19: the events with the id {key} have {count} runs of {function}")
    return found


def _disordered(db: apsw.Connection) -> list[str]:
    """I5: results are remembered in the order in which the code came to them, in which a replay is given them."""
    remembered: dict[tuple[str, str], list[str]] = defaultdict(list)
    rows = db.execute("""
        SELECT r.function_id, r.id, s.name FROM steps AS s JOIN runs AS r ON r.shard = s.shard AND r.id = s.run_id
        WHERE s.ended_at IS NOT NULL ORDER BY s.position, s.ended_at""")
    for function, run, name in rows:
        remembered[function.removeprefix("crash-"), run].append(name)
    return [
        f"I5: the steps of run {run} of {function} are remembered in the order {', '.join(names)}"
        for (function, run), names in remembered.items()
        if function in _ORDER and names != _ORDER[function][: len(names)]
    ]


def _began_again(db: apsw.Connection, lines: list[dict[str, Any]]) -> list[str]:
    """I7: a body begins again as the same attempt only if a lease of its run had run out, or its app was killed."""
    lost: dict[str, int] = defaultdict(int)
    for (run,) in db.execute(_LOST):
        lost[run] += 1
    began: dict[tuple[str, str, int], int] = defaultdict(int)
    for entry in lines:
        if "run" in entry:
            began[entry["run"], entry["step"], entry["attempt"]] += 1
    return [
        f"I7: attempt {attempt} of step {step} of {run} began {count} times, and {lost[run]} leases or calls were lost"
        for (run, step, attempt), count in began.items()
        if count > 1 + lost[run]
    ]


def overlapping(lines: list[dict[str, Any]], deaths: list[int]) -> list[str]:
    """I12: of each key the bodies of one run of the limited function are at work. Those of a process end with it at the
    latest. One that begins again beside itself, when its lease had run out, is no other's: ``_began_again`` judges it.
    """
    intervals: dict[int, dict[str, list[Interval]]] = defaultdict(lambda: defaultdict(list))
    for number, entry in enumerate(lines):
        if "run" in entry:
            me = entry["run"], entry["step"]
            over = next((each["at"] for each in lines[number:] if (each.get("over"), each["step"]) == me), None)
            death = next((moment for moment in deaths if moment >= entry["at"]), None)
            ends = [moment for moment in (over, death) if moment is not None]
            body = Interval(entry["at"], min(ends) if ends else entry["at"] + 1, entry["run"])
            intervals[entry["key"]][entry["run"]].append(body)
    return [
        str(violation)
        for key, runs in intervals.items()
        for violation in too_many_at_once(
            "I12", f"runs of the key {key} are at work", [one for bodies in runs.values() for one in _joined(bodies)], 1
        )
    ]


def _joined(intervals: list[Interval]) -> list[Interval]:
    """Those that overlap, as one."""
    found: list[Interval] = []
    for each in sorted(intervals):
        if found and each.start < found[-1].end:
            found[-1] = Interval(found[-1].start, max(found[-1].end, each.end), each.who)
        else:
            found.append(each)
    return found
