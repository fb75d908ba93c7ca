"""Why, in sentences: one for the state, then one for each gate or piece of evidence."""

from __future__ import annotations

from datetime import UTC, tzinfo

from stepwell.views.nouns import ErrorView
from stepwell.views.trace import AttemptView, gathered
from stepwell.views.why.shapes import (
    Cancelled,
    Cause,
    Completed,
    Deadline,
    Due,
    EventWhy,
    Executing,
    Failed,
    Gate,
    HeldBack,
    Invoking,
    Lapsed,
    Leaderless,
    Limited,
    Listener,
    Lost,
    Paused,
    Postponed,
    Pressed,
    Reporting,
    Retrying,
    RunWhy,
    Scheduled,
    Sleeping,
    Throttled,
    Unserved,
    Unstarted,
    Waiting,
    WaitingForSignal,
    Why,
)
from stepwell.views.wording import at, count, nth_attempt, parse_moment, relative, span

_DEPTH = "  "


def sentences(why: Why, now: int, zone: tzinfo | None = UTC) -> list[str]:
    """What there is to say, the most telling first. ``zone`` ``None`` is the machine's. Indented lines explain the one
    before them."""
    words = _Words(now, zone)
    return words.event(why) if isinstance(why, EventWhy) else words.run(why)


class _Words:
    """Says things as seen from one moment and zone."""

    def __init__(self, now: int, zone: tzinfo | None) -> None:
        self._now = now
        self._zone = zone

    def run(self, why: RunWhy) -> list[str]:
        return [*self._state(why), *_again(why)]

    def _state(self, why: RunWhy) -> list[str]:
        if why.cause is not None:
            return self._cause(why, why.cause)
        lines = [f"{why.function_id} {why.id} is {why.status}."]
        for gate in why.gates:
            lines += self._gate(gate)
        lines += [self._deadline(deadline) for deadline in why.deadlines]
        lines += [self._listener(listener) for listener in why.listeners]
        lines += [f"Note, {relative(parse_moment(note.at), self._now)}: {note.text}." for note in gathered(why.notes)]
        return lines

    def _deadline(self, deadline: Deadline) -> str:
        unless = "begun" if deadline.timeout == "start" else "ended"
        return f"Its {deadline.timeout} timeout cancels it at {self._at(deadline.at)} if it has not {unless} by then."

    def _listener(self, listener: Listener) -> str:
        condition = f" for which {listener.condition} is true" if listener.condition else ""
        return f"An event {listener.event!r}{condition} cancels it, until {self._at(listener.until)}."

    def _gate(self, gate: Gate) -> list[str]:
        if isinstance(gate, Sleeping):
            return [f"It sleeps in step {gate.step!r} until {self._at(gate.until)}."]
        if isinstance(gate, Waiting):
            condition = f" for which {gate.condition} is true" if gate.condition else ""
            return [
                f"It waits in step {gate.step!r} for an event {gate.event!r}{condition}, until {self._at(gate.until)}."
            ]
        if isinstance(gate, WaitingForSignal):
            return [f"It waits in step {gate.step!r} for the signal {gate.signal!r}, until {self._at(gate.until)}."]
        if isinstance(gate, Retrying):
            what = f"step {gate.step!r}" if gate.step else "the function's own code"
            which = nth_attempt(gate.retry, gate.retries + 1).capitalize()
            comes = f"{which} of {what} comes at {self._at(gate.at)}"
            return _told(f"{comes}, because of ", gate.error) if gate.error else [f"{comes}."]
        if isinstance(gate, Invoking):
            return self._invoking(gate)
        if isinstance(gate, Limited):
            return self._limited(gate)
        if isinstance(gate, Throttled):
            return self._throttled(gate)
        if isinstance(gate, Scheduled):
            return [f"It starts at {self._at(gate.at)}, because its event's ts lies in the future."]
        if isinstance(gate, Unserved):
            if gate.registered:
                return [f"No process that is running serves {gate.function_id}. It goes on when one does."]
            return [
                f"The function {gate.function_id} is not registered any more. It goes on if its app brings it back."
            ]
        if isinstance(gate, Paused):
            because = f": {gate.reason}" if gate.reason else ""
            held = f"--app {gate.app_id}" if gate.app_id else gate.function_id
            return [
                f"Its {'app' if gate.app_id else 'function'} has been paused since {self._at(gate.since)}{because}.",
                f"It goes on when that is resumed: stepwell resume {held}",
            ]
        if isinstance(gate, Pressed):
            who = f"step {gate.step!r}" if gate.step else "the code"
            return [
                f"It is held back until {self._at(gate.until)}, with all that shares its queue: "
                f"{who} of run {gate.run_id} was told to wait: {gate.message}.",
                _in_line(gate),
            ]
        if isinstance(gate, Executing):
            return [self._executing(gate)]
        if isinstance(gate, Reporting):
            after = f" after step {gate.after!r}" if gate.after else ""
            return [
                f"Its app executes it by itself, and reported last at {self._at(gate.since)}{after}. "
                f"If it says nothing more, it is called at {self._at(gate.until)}."
            ]
        if isinstance(gate, Lapsed):
            return ["The process that ran it has gone without a word. Another takes it over."]
        if isinstance(gate, Postponed):
            return [
                f"The process that ran it died {gate.losses} times in a row. It is left alone, in case it is what ends "
                f"them, and goes on at {self._at(gate.at)}. After {gate.losses_max} times it is given up."
            ]
        if isinstance(gate, Due):
            return [self._due(gate)]
        if isinstance(gate, Leaderless):
            return ["No process is running the engine on this database, so nothing moves until one does."]
        assert isinstance(gate, Lost)
        return ["Nothing is owed to it and nothing can wake it. This is a fault of Stepwell: please report it."]

    def _limited(self, gate: Limited) -> list[str]:
        which = "its limit of runs under way" if gate.of_runs else "its concurrency limit"
        if gate.expression:
            which += f" for {gate.expression} = {gate.value!r}"
        use = f"{gate.used} of {gate.limit} in use" if gate.limit is not None else f"{gate.used} in use"
        more = " and others" if gate.used > len(gate.held_by) else ""
        held = f" by {', '.join(gate.held_by)}{more}" if gate.held_by else ""
        lines = [f"It is held back by {which}: {use}{held}.", _in_line(gate), *self._moves(gate)]
        if gate.scope != "fn":
            whose = "environment" if gate.scope == "env" else "account"
            lines.append(f"The limit is shared by all functions of the {whose}.")
        return lines

    def _moves(self, gate: Limited) -> list[str]:
        """What has to end before the next in line can go on."""
        if not gate.holders:
            return []
        first = gate.holders[0]
        if gate.of_runs:
            what = f"run {first.run_id} ends"
        elif first.step:
            what = f"step {first.step!r} of run {first.run_id} ends"
        else:
            what = f"the call of run {first.run_id} ends"
        since = f", which began at {self._at(first.since)}" if first.since else ""
        others = " or another of them" if gate.used > 1 else ""
        return [f"The next in line goes on when {what}{since}{others}."]

    def _throttled(self, gate: Throttled) -> list[str]:
        which = f"for {gate.expression} = {gate.value!r}, " if gate.expression else ""
        return [
            f"Its start waits its turn: {which}{gate.limit} per {span(gate.period_ms)} may start, the next at "
            f"{self._at(gate.next_at)}.",
            _in_line(gate),
        ]

    def _invoking(self, gate: Invoking) -> list[str]:
        run = f" {gate.run_id}" if gate.run_id else ""
        until = f", until {self._at(gate.until)} at the latest" if gate.until else ""
        lines = [f"It waits in step {gate.step!r} for the run{run} of {gate.function_id} that it invoked{until}."]
        return lines + [_DEPTH + line for line in (self.run(gate.child) if gate.child else [])]

    def _executing(self, gate: Executing) -> str:
        since = self._at(gate.since)
        if gate.step and not gate.retry:
            return f"It executes step {gate.step!r} since {since}."
        if gate.step:
            return f"It executes {nth_attempt(gate.retry, None)} of step {gate.step!r} since {since}."
        if gate.retry:
            return f"It executes {nth_attempt(gate.retry, None)} of the function's own code since {since}."
        after = f", after step {gate.after!r}" if gate.after else ""
        return f"It is executing. Nothing new was recorded since {since}{after}."

    def _due(self, gate: Due) -> str:
        since = self._at(gate.since)
        if gate.because == "draining":
            return f"It has been due since {since}. This process is shutting down; it goes on at the next start."
        if gate.because == "all-busy":
            return f"It has been due since {since}. All {gate.calls_max:,} calls this process may make are in flight."
        return f"It has been due since {since} and goes on at once."

    def _cause(self, why: RunWhy, cause: Cause) -> list[str]:
        name = f"{why.function_id} {why.id}"
        ended = self._at(why.ended_at) if why.ended_at else "some time ago"
        if isinstance(cause, Completed):
            return [f"{name} completed at {ended}, {span(cause.duration_ms)} after it began, in {_steps(cause.steps)}."]
        if isinstance(cause, Cancelled):
            return [f"{name} was cancelled at {ended}.", _canceller(cause)]
        return [f"{name} failed at {ended}.", *self._failure(cause)]

    def _failure(self, cause: Failed) -> list[str]:
        if not (cause.step or cause.tries):
            return _told("Stepwell gave it up: ", cause.error)
        what = f"Step {cause.step!r}" if cause.step else "The function's own code"
        if cause.child is not None:
            lines = _told(f"{what} passed on the error of the run it invoked: ", cause.error)
            return lines + [_DEPTH + line for line in self.run(cause.child)]
        lines = _told(f"{what} failed after {count(cause.tries, 'attempt')}: ", cause.error)
        if cause.frame is not None:
            where = f" in {cause.frame.function}" if cause.frame.function else ""
            code = f": {cause.frame.code}" if cause.frame.code else ""
            lines.append(f"Raised at {cause.frame.file}:{cause.frame.line}{where}{code}")
        if len(cause.attempts) > 1:
            for attempt in cause.attempts:
                lines += self._attempt(attempt, cause.error)
        if cause.caught:
            lines.append(f"Before that it went on after errors of {', '.join(map(repr, cause.caught))}.")
        return lines

    def _attempt(self, attempt: AttemptView, last: ErrorView) -> list[str]:
        assert attempt.ended_at is not None and attempt.error is not None, "only what failed is evidence"
        took = span(parse_moment(attempt.ended_at) - parse_moment(attempt.started_at))
        tried = f"{_DEPTH}Attempt {attempt.attempt + 1} at {self._at(attempt.started_at)} took {took}: "
        told = _told(tried, attempt.error)
        same = (attempt.error.name, attempt.error.message) == (last.name, last.message)
        return told[:1] if same else [told[0], *(_DEPTH + line for line in told[1:])]

    def event(self, why: EventWhy) -> list[str]:
        started = count(len(why.runs), "run")
        received = self._at(why.received_at)
        lines = [f"Event {why.name!r} {why.id}, received at {received}, started {started}."]
        lines += [f"It started {run.function_id}: run {run.id}, {run.status}." for run in why.runs]
        for outcome in why.outcomes:
            stead = f" (run {outcome.run_id})" if outcome.run_id else ""
            reason = f": {outcome.reason}" if outcome.reason else ""
            lines.append(f"It did not start {outcome.function_id}, {outcome.kind}{reason}{stead}.")
        lines += [self._held(held) for held in why.held]
        lines += [_unstarted(function) for function in why.unstarted]
        if not (why.runs or why.outcomes or why.held or why.unstarted):
            lines.append(f"No function has a trigger for {why.name!r}.")
            if why.nearest:
                lines.append(f"Did you mean {' or '.join(map(repr, why.nearest))}?")
        return lines

    def _held(self, held: HeldBack) -> str:
        events = f"the {count(held.count, 'event')} that came so far"
        debounced, collected = f"the newest of {events}", f"one of {events}"
        if held.count == 1:
            debounced = collected = "so far the only event"
        start = f"run {held.run_id} starts at {self._at(held.at)}"
        if held.by == "debounce":
            return f"It is held back for {held.function_id}, {debounced}: {start}, unless a newer one comes."
        return f"It is held back for {held.function_id}, {collected}: {start}, or when there are enough."

    def _at(self, moment: str) -> str:
        return at(parse_moment(moment), self._now, self._zone)


def _again(why: RunWhy) -> list[str]:
    """Why there is such a run, if it is not for an event that came."""
    by = f"Replay {why.replay_id}" if why.replay_id is not None else "Somebody"
    if why.original_run_id is None:
        return [] if why.replay_id is None else [f"{by} started it, for an event that had been skipped."]
    how = ""
    if why.from_step is not None:
        how = f" from step {why.from_step!r}, with {count(why.copied_steps, 'step')} of that run"
    if why.event_edited:
        how += f"{' and' if how else ''} with edited data"
    return [f"{by} started run {why.original_run_id} again{how}: that is this run."]


def _in_line(gate: Limited | Throttled | Pressed) -> str:
    position = f"{gate.position:,}{' or later' if gate.position_more else ''}"
    line = f"It is number {position} of {gate.queued:,}{' or more' if gate.queued_more else ''} in line"
    if gate.head_start_ms:
        where = "forward" if gate.head_start_ms > 0 else "back"
        line += f", moved {where} by {span(abs(gate.head_start_ms))} by its priority"
    return f"{line}."


def _canceller(cause: Cancelled) -> str:
    if cause.by == "event":
        condition = f": {cause.condition} is true for it" if cause.condition else ""
        return f"The event {cause.event_name!r} {cause.event_id} cancelled it{condition}."
    if cause.by in ("start-timeout", "finish-timeout"):
        return f"Its {cause.by.replace('-', ' ')} cancelled it: {cause.reason.partition(': ')[2]}."
    if cause.by == "singleton":
        return f"Its function runs alone, and run {cause.run_id} took its place."
    return f"The reason given: {cause.reason}."


def _unstarted(function: Unstarted) -> str:
    start = f"It did not start {function.function_id}"
    if function.because == "condition":
        return f"{start}: {function.expression} is not true for it."
    if function.because == "later":
        return f"{start}, which was registered, changed or unarchived after it was received."
    if function.because == "archived":
        return f"{start}, which is archived: nothing starts it now."
    return f"{start}, and nothing was recorded about why."


def _told(before: str, error: ErrorView) -> list[str]:
    """A sentence that ends in an error. What its message has below its first line stays below."""
    first, *more = [line.strip() for line in error.message.splitlines() if line.strip()] or [""]
    first = first.rstrip(".:")
    return [f"{before}{error.name}{': ' if first else ''}{first}.", *(_DEPTH + line for line in more)]


def _steps(number: int) -> str:
    return count(number, "step")
