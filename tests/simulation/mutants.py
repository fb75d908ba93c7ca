"""Bugs to plant: mistakes that people make in systems like this one, each as a patch of the real code."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import msgspec
import pytest

from stepwell.engine import (
    admission,
    again,
    bulk,
    dispatch,
    due,
    ending,
    pausing,
    pressure,
    progress,
    registration,
    standing,
)
from stepwell.flow import (
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
    gcra,
)
from stepwell.flow.verdicts import Accept, Go
from stepwell.model import changes as c
from stepwell.model.pause import Pause
from stepwell.model.standing import Orders, StandingKind
from stepwell.model.step import StepStatus
from stepwell.protocol.events import seeded_id
from stepwell.runtime import dispatcher, live_call
from stepwell.runtime import engine as runtime
from stepwell.storage.sqlite import changes as sqlite
from stepwell.storage.sqlite.statements import changes as sql

Mutant = Callable[[pytest.MonkeyPatch], None]


def _writing(alter: Callable[[Any], Any]) -> Mutant:
    """Every change is altered before it is written; ``None`` is not written at all."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        write = sqlite.Writer._write_to

        def altered(self: sqlite.Writer, change: Any, shard: int = 0) -> None:
            change = alter(change)
            if change is not None:
                write(self, change, shard)

        patch.setattr(sqlite.Writer, "_write_to", altered)

    return plant


def _dropping(kind: type) -> Mutant:
    return _writing(lambda change: None if type(change) is kind else change)


def _text(name: str, kind: type | None, old: str, new: str) -> Mutant:
    """An SQL text says something else."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        text = getattr(sql, name)
        assert old in text, f"{name} does not say {old!r} any more"
        patch.setattr(sql, name, text.replace(old, new))
        if kind is not None:
            patch.setitem(sqlite._WRITE, kind, (text.replace(old, new), sqlite._WRITE[kind][1]))

    return plant


def _both(*mutants: Mutant) -> Mutant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        for mutant in mutants:
            mutant(patch)

    return plant


def _acknowledge_before_commit(patch: pytest.MonkeyPatch) -> None:
    send = runtime.Engine.send

    async def hasty(self: Any, events: Any, *, seed: str | None = None, source: str = "api") -> list[str]:
        self.spawn(send(self, events, seed=seed, source=source))
        return [seeded_id(seed, number) or "" for number in range(1, len(events) + 1)]

    patch.setattr(runtime.Engine, "send", hasty)


def _settle_early(patch: pytest.MonkeyPatch) -> None:
    settle = due.settle_due

    def early(draft: Any, steps: Any) -> Any:
        return settle(draft, [msgspec.structs.replace(s, due=s.due and s.due - 1_000) for s in steps])

    patch.setattr(dispatch, "settle_due", early)


def _rest_too_short(change: Any) -> Any:
    if type(change) is c.Park and change.at is not None and change.at > change.now:
        return c.Park(change.lease, change.at - 1_000, change.now, change.attempt)
    return change


def _forget_what_a_claim_settles(patch: pytest.MonkeyPatch) -> None:
    """A run is leased with the steps it had before the claim settled some of them."""

    class Blind(list[str]):
        def __contains__(self, item: object) -> bool:
            return False

    claim = dispatch.claim

    def forgetful(draft: Any, **named: Any) -> Any:
        draft.touched = Blind()
        return claim(draft, **named)

    patch.setattr(dispatcher, "claim", forgetful)
    patch.setattr(dispatch, "Wake", lambda *args: c.Wake("nobody", 0))


def _invoke_again_when_unsure(patch: pytest.MonkeyPatch) -> None:
    """An op does not look for an earlier try of itself."""

    def ask(question: Any) -> Generator[Any, Any, Any]:
        answer = yield question
        return None if type(question).__name__ == "GetStep" else answer

    patch.setattr(progress, "ask", ask)


def _hear_everything(patch: pytest.MonkeyPatch) -> None:
    """A call believes that it knows what became of branches it has cut off."""

    def known(leased: Any) -> Generator[Any, Any, Any]:
        return leased.steps, leased.width
        yield

    patch.setattr(progress, "_known", known)


def _overlook_cancellation_of_children(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ending, "_tell_parent", lambda run, status, output, now: [])


def _stop_after_the_queued(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bulk, "after", lambda found, taken, whole=True: None)


def _reuse_tokens(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runtime, "first_token", lambda epoch: 1 << 40)


def _rest_without_due(change: Any) -> Any:
    if type(change) is c.Park and change.at is not None and change.at > change.now:
        return c.Park(change.lease, None, change.now, change.attempt)
    return change


def _forget_attempts(change: Any) -> Any:
    return c.Park(change.lease, change.at, change.now, 0) if type(change) is c.Park else change


def _skip_an_attempt(change: Any) -> Any:
    if type(change) is c.SaveStep and change.step.status == StepStatus.ERRORED:
        return c.SaveStep(msgspec.structs.replace(change.step, attempt=change.step.attempt + 1))
    return change


def _no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Concurrency, "grant", lambda self, used: Go())


def _no_turns(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Throttle, "grant", lambda self, key, cell, now: Go())


def _no_rate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RateLimit, "admit", lambda self, key, cell, run_id, now: Accept())


def _no_places(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunConcurrency, "grant", lambda self, used: Go())


def _no_head_start(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Priority, "head_start", lambda self, env, now: (0, None))


def _keep_the_old_rate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gcra, "within", lambda tat, last, interval, burst: tat)


def _nobody_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Singleton, "admit", lambda self, holder: Accept())


def _forget_timers(kind: str) -> Mutant:
    def alter(change: Any) -> Any:
        return None if type(change) is c.Schedule and change.item.kind == kind else change

    return _writing(alter)


def _keep_the_oldest(patch: pytest.MonkeyPatch) -> None:
    hold = Debounce.hold

    def oldest(self: Debounce, window: Any, event_id: str, ts: int, size: int, now: int) -> Any:
        return hold(self, window, event_id, ts if not window.count else window.ts - 1, size, now)

    patch.setattr(Debounce, "hold", oldest)


def _keep_the_window(change: Any) -> Any:
    gone = type(change) is c.PutCell and change.cell.expires_at == 0
    return None if gone else change


def _letting_go_nobody(module: Any) -> Mutant:
    return lambda patch: patch.setattr(module, "let_go", lambda *_: iter(()))


def _pause_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pause, "holds", lambda self, run: False)


def _drain_nothing(patch: pytest.MonkeyPatch) -> None:
    find = Orders.find

    def blind(self: Orders, kind: StandingKind, function_id: str, app_id: str) -> Any:
        return None if kind == StandingKind.DRAIN else find(self, kind, function_id, app_id)

    patch.setattr(Orders, "find", blind)


def _archive_nothing(patch: pytest.MonkeyPatch) -> None:
    find = Orders.find

    def blind(self: Orders, kind: StandingKind, function_id: str, app_id: str) -> Any:
        return None if kind == StandingKind.ARCHIVE else find(self, kind, function_id, app_id)

    patch.setattr(Orders, "find", blind)


def _archive_without_the_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing, "_disarm", lambda *_: iter(()))


def _bring_back_without_the_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing, "arm_crons", lambda *_: None)


def _drain_no_replay(patch: pytest.MonkeyPatch) -> None:
    """Whoever starts runs again does not ask whether nothing new is to begin."""
    consider = admission.consider

    def hasty(draft: Any, function: Any, *given: Any, **named: Any) -> Any:
        if named.get("again") is not None:
            function = msgspec.structs.replace(function, drain=None)
        return consider(draft, function, *given, **named)

    patch.setattr(admission, "consider", hasty)
    patch.setattr(bulk, "is_held", lambda function: function is not None and function.pause is not None)


def _press_nobody(patch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any) -> Generator[Any, Any, str | None]:
        return None
        yield

    patch.setattr(dispatch, "pressed", pressed)


def _press_no_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(live_call.LiveCall, "_pressed_until", lambda self: 0)


def _forget_what_was_copied(patch: pytest.MonkeyPatch) -> None:
    """Whoever calls a rerun first does not know what it has taken over."""
    start_again = again.start_again

    def forgetful(draft: Any, *given: Any) -> Generator[Any, Any, Any]:
        started = yield from start_again(draft, *given)
        for one in draft.leased:
            if one.run is started:
                one.steps.clear()
        return started

    patch.setattr(again, "start_again", forgetful)


def _ask_only_the_first(change: Any) -> Any:
    if type(change) is c.ReleaseShared:
        return c.Release(change.backlog, change.now, change.count, change.place)
    return change


def _pass_nothing_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(dispatch, "pass_on", lambda draft, run, passed: None)


def _widen_for_everybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(progress, "Blocked", type(None))


def _favour_the_first(patch: pytest.MonkeyPatch) -> None:
    """One function has all the room there is, whoever else waits for some."""
    fair = dispatch._fair

    def favour(draft: Any, limit: int, crowds: Any) -> Any:
        return fair(draft, limit, crowds[:1])

    patch.setattr(dispatch, "_fair", favour)


def _hear_of_functions_late(patch: pytest.MonkeyPatch) -> None:
    """Decisions go on by the functions that there were until the new ones have been read."""

    async def late(self: Any, plan: Any) -> Any:
        value = (await self.commit(plan)).result.value
        if value:
            await self.load()
        return value

    patch.setattr(runtime.Engine, "declare", late)


def _ask_nobody_by_new_limits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registration, "review", lambda draft, app_id: None)


MUTANTS_OF_RULES: dict[str, Mutant] = {
    "places are given to everybody": _no_places,
    "nobody has a head start": _no_head_start,
    "of those who share a limit only the first is asked": _writing(_ask_only_the_first),
    "room that its first cannot take is lost": _pass_nothing_on,
    "a call that goes on takes slots that there are not": _widen_for_everybody,
    "an older, slower rate goes on": _keep_the_old_rate,
    "one function has all the room": _favour_the_first,
}
"""Those that show only beside a model of the rule: what a world sees of them breaks no invariant, or too seldom."""


MUTANTS: dict[str, Mutant] = {
    "a drain lets in what comes from outside": _drain_nothing,
    "a drain lets in what is started again": _drain_no_replay,
    "what is archived is started": _archive_nothing,
    "the clock of what is archived goes on": _archive_without_the_clock,
    "the clock of what comes back stands still": _bring_back_without_the_clock,
    "back-pressure holds nobody who comes due": _both(_press_nobody, _press_no_call),
    "back-pressure holds no call that is under way": _press_no_call,
    "nobody lets go what back-pressure has held": _letting_go_nobody(pressure),
    "what a replay starts is still called skipped": _dropping(c.DropOutcome),
    "a rerun does what it has taken over": _forget_what_was_copied,
    "throttles let everybody through": _no_turns,
    "rate limits let everybody through": _no_rate,
    "a second run starts beside the one there may be": _nobody_alone,
    "nobody calls those who wait their turn": _forget_timers("throttle"),
    "nothing ends a window": _forget_timers("window"),
    "a debounce keeps the oldest": _keep_the_oldest,
    "a window is used again": _writing(_keep_the_window),
    "events of a batch are not kept": _dropping(c.HoldEvent),
    "nobody lets go what waited for its function to be resumed": _letting_go_nobody(pausing),
    "runs of a paused function go on": _pause_nothing,
    "a settled wait stays open": _dropping(c.CloseWait),
    "an ended run keeps its waits": _dropping(c.CloseWaits),
    "nobody is let in when a slot is free": _both(_dropping(c.Release), _dropping(c.ReleaseShared)),
    "slots are not given back": _dropping(c.FreeSlots),
    "a settled step does not wake its run": _dropping(c.Wake),
    "a wait is not registered": _dropping(c.OpenWait),
    "an event id is not remembered": _dropping(c.PutCell),
    "a run rests without a due moment": _writing(_rest_without_due),
    "a poke is lost when the run rests": _text("PARK", c.Park, "CASE WHEN poked", "CASE WHEN false AND poked"),
    "own attempts are not counted": _writing(_forget_attempts),
    "an attempt is skipped": _writing(_skip_an_attempt),
    "a result is overwritten": _both(
        _text("SETTLE_STEP", None, "AND ended_at IS NULL", ""),
        _text("SETTLE_STEP_NEXT", None, "AND ended_at IS NULL", ""),
    ),
    "a run ends twice": _both(
        _text("FINISH_RUN", c.FinishRun, "AND ended_at IS NULL", ""),
        _text("DROP_HELD", None, "AND lease = ?3", "AND ?3 = ?3"),
        _text("HOLDS", None, "SELECT 1 FROM items WHERE shard = ?1 AND id = ?2 AND lease = ?3", "SELECT ?1, ?2, ?3"),
    ),
    "there is no fence": _both(
        _text("HOLDS", None, "SELECT 1 FROM items WHERE shard = ?1 AND id = ?2 AND lease = ?3", "SELECT ?1, ?2, ?3"),
        _text("SAVE_STEP_HELD", None, "AND lease = ?17", "AND ?17 = ?17"),
        _text("DROP_HELD", None, "AND lease = ?3", "AND ?3 = ?3"),
        _text("PARK", c.Park, "AND lease = ?3", "AND ?3 = ?3"),
    ),
    "lease tokens are used again": _reuse_tokens,
    "events are acknowledged before they are written": _acknowledge_before_commit,
    "a parent is not told of its child's end": _overlook_cancellation_of_children,
    "what is due in a second counts as due": _both(_settle_early, _writing(_rest_too_short)),
    "a limit does not hold": _no_limit,
    "a claim forgets what it has settled itself": _forget_what_a_claim_settles,
    "an invoke that was unsure is done again": _invoke_again_when_unsure,
    "a call believes it knows what it has cut off": _hear_everything,
    "functions change, and decisions hear of it late": _hear_of_functions_late,
    "nobody who waits is asked by new limits": _ask_nobody_by_new_limits,
    "an order to cancel many stops at those that have begun": _stop_after_the_queued,
}
