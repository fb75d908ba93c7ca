"""The last examination of a world, when everything has come to its end: is the account of what happened right?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.model.order import Wanted
from stepwell.testing.invariants import Violation
from stepwell.testing.moments import moments
from stepwell.testing.programs import Spec
from stepwell.testing.put_off import put_off
from stepwell.testing.starts import starts

if TYPE_CHECKING:
    from stepwell.testing.world import World

_DAY_MS = 86_400_000
_WINDOW = "deduplicated", "idempotent"
# Of steps ``s`` of runs ``r``: not those that were copied from the run that this one repeats.
_OWN = "(s.ended_at IS NULL OR s.ended_at > r.queued_at OR coalesce(json_extract(r.rerun, '$.copied'), 0) = 0)"


def examine(world: World) -> Iterator[Violation]:
    """Everything that is not as it must be."""
    yield from _events(world)
    yield from _once_per_key(world)
    yield from _failures(world)
    yield from _attempts(world)
    yield from moments(world)
    yield from _waits(world)
    yield from _signals(world)
    yield from _children(world)
    yield from _outputs(world)
    yield from _ticks(world)
    yield from _orders(world)
    yield from _replays(world)
    yield from starts(world)
    yield from put_off(world)
    yield from _left_over(world)
    _rarities(world)


def _events(world: World) -> Iterator[Violation]:
    """I1, I2: every acknowledged event is there, and each pair of event and matching function has one outcome."""
    stored = {row[0]: row[1:] for row in world.tables.ask("SELECT id, name, data, source, received_at FROM events")}
    for event_id, (name, _) in world.acked.items():
        if event_id not in stored or stored[event_id][0] != name:
            yield Violation("I1", f"event {event_id} ({name}) was acknowledged and is not there")
    outcomes: dict[tuple[str, str], list[str]] = defaultdict(list)
    text = """
      SELECT event_id, function_id FROM runs WHERE parent IS NULL AND batch IS NULL AND original IS NULL
      UNION ALL SELECT e.event_id, r.function_id FROM runs AS r JOIN run_events AS e ON e.run_id = r.id
        WHERE r.original IS NULL"""
    for event_id, function_id in world.tables.ask(text):
        outcomes[event_id, function_id].append("run")
    for event_id, function_id, kind in world.tables.ask("SELECT event_id, function_id, kind FROM outcomes"):
        if stored.get(event_id, ("", b"", "", 0))[2] != "invoke":
            outcomes[event_id, function_id].append(kind)
    for event_id, (name, data, source, received_at) in stored.items():
        if source in ("internal", "invoke", "cron"):
            continue
        key = msgspec.json.decode(data).get("key", "")
        for spec in world.plan.functions:
            function_id = f"w-{spec.id}"
            found = outcomes.pop((event_id, function_id), [])
            if not found and world.may_be_archived(function_id, event_id, received_at):
                world.reach("no outcome: archived")
            elif len(found) != (1 if spec.matches(name, key) else 0):
                yield Violation("I2", f"event {event_id} ({name}) and function {function_id} had the outcomes {found}")
            for kind in found:
                world.reach(f"outcome {kind}")


def _once_per_key(world: World) -> Iterator[Violation]:
    """I19: an event id, and an idempotency key, start one run per function in 24 hours."""
    text = """
      SELECT r.function_id, r.queued_at, e.key, e.data
      FROM runs AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
      WHERE e.source IN ('api', 'sdk') AND r.original IS NULL AND r.rerun IS NULL ORDER BY r.queued_at"""
    specs = {f"w-{spec.id}": spec for spec in world.plan.functions}
    latest: dict[tuple[str, str], int] = {}
    for function_id, queued_at, key, data in world.tables.ask(text):
        spec: Spec | None = specs.get(function_id)
        batched = spec is not None and spec.rules.batch is not None  # which looks at no ids (semantics §7.9)
        keys = [f"id {key}"] if key and key.startswith("id") and not batched else []
        if spec is not None and spec.idempotent:
            keys.append(f"idempotency {msgspec.json.decode(data).get('key')}")
        for one in keys:
            before = latest.get((function_id, one))
            if before is not None and queued_at - before < _DAY_MS:
                yield Violation("I19", f"{function_id} was started twice for {one}")
            latest[function_id, one] = queued_at


def _failures(world: World) -> Iterator[Violation]:
    """I9: a failure handler runs once for each failed run of its function, and for nothing else."""
    text = """
      SELECT r.function_id, json_extract(e.data, '$.run_id'), count(*)
      FROM runs AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
      WHERE e.name = 'inngest/function.failed' GROUP BY 1, 2"""
    handled = {(row[0], row[1]): row[2] for row in world.tables.ask(text)}
    for spec in world.plan.functions:
        for run_id, status in world.tables.ask("SELECT id, status FROM runs WHERE function_id = ?", f"w-{spec.id}"):
            world.reach(f"run {status}")
            count = handled.pop((f"w-{spec.id}-failure", run_id), 0)
            if count != (1 if spec.on_failure and status == "FAILED" else 0):
                yield Violation("I9", f"run {run_id} is {status}, and its failure handler ran {count} times")
            elif count:
                world.reach("failure handled")
    for (function_id, run_id), count in handled.items():
        yield Violation("I9", f"{function_id} ran {count} times for run {run_id}")


def _attempts(world: World) -> Iterator[Violation]:
    """I6: attempts count 0, 1, 2… without a gap, and no more of them are made than the policy allows."""
    recorded: dict[tuple[str, str], list[int]] = defaultdict(list)
    text = "SELECT run_id, step_id, attempt FROM attempts WHERE step_id <> '' ORDER BY run_id, step_id, attempt"
    for run_id, step_id, attempt in world.tables.ask(text):
        recorded[run_id, step_id].append(attempt)
    started: dict[tuple[str, str], set[int]] = defaultdict(set)
    for start in world.ledger.starts:
        started[start.run_id, start.step_id].add(start.attempt)
    retries = {f"w-{spec.id}": spec.retries for spec in world.plan.functions}
    steps = world.tables.ask(
        "SELECT s.run_id, s.id, s.name, s.kind, s.status, s.attempt, r.function_id FROM steps AS s "
        f"JOIN runs AS r ON r.id = s.run_id WHERE {_OWN}",
    )
    for run_id, step_id, name, kind, status, attempt, function_id in steps:
        if kind not in ("run", "sendEvent"):
            continue
        failed = recorded[run_id, step_id]
        who = f"step {name} of run {run_id}"
        if failed != list(range(len(failed))):
            yield Violation("I6", f"the failed attempts of {who} are {failed}")
        if len(failed) > retries.get(function_id, 0) + 1:
            yield Violation(
                "I6", f"{who} failed {len(failed)} times; its function has {retries.get(function_id)} retries"
            )
        if status == "COMPLETED" and attempt != len(failed):
            yield Violation("I6", f"{who} completed as attempt {attempt} after {len(failed)} failed ones")
        bodies = started[run_id, step_id]
        if kind == "run" and bodies != set(range(len(bodies))):
            yield Violation("I6", f"the bodies of {who} began as attempts {sorted(bodies)}")
        if kind == "run" and status == "COMPLETED" and attempt not in bodies:
            yield Violation("I6", f"{who} completed as attempt {attempt}, whose body never began")


def _waits(world: World) -> Iterator[Violation]:
    """I16, I17: a wait got the first event that matched it after it began, or timed out because there was none."""
    text = """
      SELECT s.run_id, s.name, s.status, s.started_at, min(s.ended_at, s.due), s.output,
        json_extract(s.details, '$.event'), json_extract(e.data, '$.key'), r.event_id
      FROM steps AS s JOIN runs AS r ON r.id = s.run_id JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
      WHERE s.kind = 'waitForEvent' AND s.ended_at IS NOT NULL"""
    for run_id, name, status, began, ended, output, event, key, own in world.tables.ask(text):
        if key is None:
            continue  # started by a clock: it waits for an event without a key, and nobody sends one
        between = world.tables.ask(
            "SELECT coalesce(key, id), id FROM events WHERE name = ? AND json_extract(data, '$.key') = ? "
            "AND NOT copied AND received_at > ? AND received_at < ? AND id <> ? ORDER BY received_at",
            event, key, began, ended, own,
        )  # fmt: skip
        # What came in time may be decided later, even an hour later if the clock was set meanwhile.
        between = [one for one in between if world.written[one[1]] < ended]
        world.reach(f"wait {status}")
        got = msgspec.json.decode(output or b"null")
        # Of two events whose decisions had to be made again, the later may be written first.
        if between and (got is None or not world.decided_again):
            yield Violation("I17", f"step {name} of run {run_id} missed {between[0][0]} and got {got}, {status}")


def _signals(world: World) -> Iterator[Violation]:
    """I16: whom a step says it has signalled has heard it.

    Another may have heard it, too: a process that dies in the very moment sends it again (ADR 0015).
    """
    heard: dict[str, list[str]] = defaultdict(list)
    text = "SELECT run_id, status, output FROM steps WHERE kind = 'waitForSignal' AND ended_at IS NOT NULL"
    for run_id, status, output in world.tables.ask(text):
        world.reach(f"signal {status}")
        found = msgspec.json.decode(output or b"null")
        if found is not None:
            heard[run_id].append(found["data"])
    for run_id, name, output in world.tables.ask(
        "SELECT s.run_id, s.name, s.output FROM steps AS s JOIN runs AS r ON r.id = s.run_id "
        f"WHERE s.kind = 'sendSignal' AND s.status = 'COMPLETED' AND {_OWN}"
    ):
        reached = msgspec.json.decode(output)
        world.reach("signalled" if reached else "signalled nobody")
        if reached and f"{run_id} {name}" not in heard[reached]:
            yield Violation("I16", f"run {run_id} has signalled run {reached}, which did not hear it")


def _children(world: World) -> Iterator[Violation]:
    """Whoever invoked a function started it once, and got the answer that it gave."""
    text = "SELECT parent, parent_step, count(*) FROM runs WHERE parent IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"
    for run_id, step_id, count in world.tables.ask(text):
        yield Violation("I3", f"step {step_id} of run {run_id} invoked {count} runs")
    text = f"""
      SELECT s.run_id, s.name, s.status, s.output, s.ended_at, s.due, c.id, c.status, c.output, c.ended_at,
        r.ended_at, r.status = 'CANCELLED', cast(s.details AS TEXT)
      FROM steps AS s JOIN runs AS r ON r.id = s.run_id
        LEFT JOIN runs AS c ON c.parent = s.run_id AND c.parent_step = s.id
      WHERE s.kind = 'invoke' AND {_OWN}"""
    for (
        run_id,
        name,
        status,
        output,
        ended,
        due,
        child,
        end,
        result,
        end_at,
        over,
        cancelled,
        details,
    ) in world.tables.ask(text):
        who = f"step {name} of run {run_id}, which invoked {child}"
        if status == "INVOKING":  # its run ended without it
            if end_at is not None and end_at > over and cancelled and '"cancel_child":true' in details:
                yield Violation("I18", f"{who}: went on after its parent was cancelled")
            continue
        world.reach(f"invoke {status}, child {end}")
        timed_out = status == "FAILED" and msgspec.json.decode(output).get("name") == "InngestInvokeTimeoutError"
        if timed_out:
            if ended < due:
                yield Violation("I15", f"{who}: timed out too early")
        elif child is None:
            if status != "FAILED":
                yield Violation("I10", f"{who}: {status} without a child")
        elif ended != end_at:
            yield Violation("I10", f"{who}: {status} at {ended}, but the child ended at {end_at}")
        elif end == "COMPLETED" and (status != "COMPLETED" or output != result):
            yield Violation("I10", f"{who}: {status} {output!r}, but the child returned {result!r}")
        elif end != "COMPLETED" and status != "FAILED":
            yield Violation("I10", f"{who}: {status}, but the child is {end}")


def _outputs(world: World) -> Iterator[Violation]:
    """I5: what the code saw of its steps is what is recorded of them."""
    steps: dict[str, dict[str, tuple[str, Any]]] = defaultdict(dict)
    for run_id, name, repeat, status, output in world.tables.ask(
        "SELECT run_id, name, repeat, status, output FROM steps"
    ):
        steps[run_id][f"{name}:{repeat}"] = status, msgspec.json.decode(output) if output is not None else None
    for run_id, output in world.tables.ask("SELECT id, output FROM runs WHERE status = 'COMPLETED'"):
        for name, value in msgspec.json.decode(output):
            status, recorded = steps[run_id].get(name, ("missing", None))
            if status not in ("COMPLETED", "FAILED", "TIMED_OUT") or value != _seen(status, recorded):
                yield Violation("I5", f"run {run_id} saw {value!r} as step {name}; recorded is {status} {recorded!r}")


def _seen(status: str, recorded: Any) -> Any:
    """What a player notes of a result: of an error its name, of an event its id, of a signal its data."""
    if status == "FAILED":
        return f"error: {recorded['name']}"
    if issubclass(type(recorded), dict):
        return recorded["data" if "signal" in recorded else "id"]
    return recorded


def _ticks(world: World) -> Iterator[Violation]:
    """I23: in order also by when their runs were created."""
    text = """
      SELECT r.function_id, json_extract(e.data, '$.scheduledAt'), r.queued_at
      FROM runs AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
      WHERE e.source = 'cron' AND r.original IS NULL AND r.rerun IS NULL ORDER BY 1, 2"""
    latest: dict[str, int] = {}
    for function_id, tick, queued_at in world.tables.ask(text):
        world.reach("tick")
        if queued_at + world.overlap_ms < latest.get(function_id, 0):
            yield Violation("I23", f"the tick {tick} of {function_id} came after a later one")
        latest[function_id] = queued_at


def _rarities(world: World) -> None:
    """What is worth knowing that it happened at all."""
    for (kind,) in world.tables.ask("SELECT DISTINCT kind FROM notes"):
        world.reach(f"note {kind}")
    for name in sorted(world.guard.seen):
        world.reach(name)
    if world.tables.ask("SELECT 1 FROM notes WHERE text LIKE '%left alone%'"):
        world.reach("left alone")
    if world.tables.ask("SELECT 1 FROM runs WHERE scheduled_at > queued_at"):
        world.reach("start later")
    if world.tables.ask("SELECT 1 FROM steps WHERE repeat > 0"):
        world.reach("repeated step")


def _orders(world: World) -> Iterator[Violation]:
    """F86: what is ordered to be cancelled is, whoever dies meanwhile; what came after the order is not."""
    for order, ended_at in world.tables.ask("SELECT id, ended_at FROM orders"):
        if ended_at is None:
            yield Violation("F86", f"order {order} was never done")
    text = """
      SELECT r.id, r.status, r.ended_at, r.reason, c.id, c.ended_at, r.queued_at - (c.what ->> '$.created_before')
      FROM orders AS c JOIN runs AS r ON r.function_id = (c.what ->> '$.functions[0]') WHERE c.kind = 'cancel'"""
    for run_id, status, ended_at, reason, order, done_at, later in world.tables.ask(text):
        if (run_id > order or later > 0) and reason == f"cancellation {order}":
            yield Violation("F86", f"run {run_id} came after cancellation {order} and was cancelled by it")
        # A run for which events are held back has its id before it is made.
        before = run_id < order and later < -world.overlap_ms  # else it may have been created after it was gone through
        if before and done_at is not None and ended_at > done_at + world.overlap_ms:
            yield Violation("F86", f"run {run_id} is {status}: cancellation {order} passed it over")


def _replays(world: World) -> Iterator[Violation]:
    """F91: each run that a replay means is started again by it once, or counted as one that could not be."""
    text = """
      SELECT original, json_extract(rerun, '$.replay'), count(*) FROM runs
      WHERE original IS NOT NULL AND json_extract(rerun, '$.replay') IS NOT NULL GROUP BY 1, 2"""
    started: dict[str, set[str]] = defaultdict(set)
    for run_id, order, count in world.tables.ask(text):
        world.reach("replayed")
        started[order].add(run_id)
        if count != 1:
            yield Violation("F91", f"replay {order} has started run {run_id} again {count} times")
    text = "SELECT id, what, done, skipped FROM orders WHERE kind = 'replay'"
    for order, wanted, done, skipped in world.tables.ask(text):
        what = msgspec.json.decode(wanted, type=Wanted)
        statuses = msgspec.json.encode(what.statuses).decode()
        meant = world.tables.ask(
            "SELECT id, ended_at FROM runs WHERE function_id = ? AND status IN (SELECT value FROM json_each(?)) "
            "AND queued_at <= ? AND ended_at <= ? AND id < ?",
            what.functions[0], statuses, what.created_before, what.ended_before, order,
        )  # fmt: skip
        ids = {row[0] for row in meant}
        # What ends in the very moment of the order, or by a decision that overlaps with it, may end after it was gone
        # through.
        sure = {run_id for run_id, ended_at in meant if ended_at < (what.ended_before or 0) - world.overlap_ms}
        ((first,),) = world.tables.ask(
            "SELECT count(*) FROM runs WHERE original IS NULL AND json_extract(rerun, '$.replay') = ?", order
        )
        if first:
            world.reach("skipped event started")
        if not started[order] <= ids:
            yield Violation("F91", f"replay {order} has started {started[order] - ids}, which it does not mean")
        if done != len(started[order]) + first:
            yield Violation("F91", f"replay {order} says {done}, and has started {len(started[order])} and {first}")
        if len(sure - started[order]) > skipped:
            yield Violation("F91", f"replay {order} has passed over some of {sure - started[order]}; {skipped} skipped")


def _left_over(world: World) -> Iterator[Violation]:
    """I13: nobody holds, waits for or is owed anything."""
    for table in ("items", "waits", "slots"):
        left = world.tables.ask(f"SELECT * FROM {table}")
        if left:
            yield Violation("I13", f"{table} are left when everything is over: {left[:3]}")
