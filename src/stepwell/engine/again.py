"""A run is made again: from its beginning, or from one of its steps, with what came before it copied."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from stepwell.engine.admission import Again, admit
from stepwell.engine.draft import Draft
from stepwell.engine.intake import announce
from stepwell.errors import ConfigurationError, NotFound
from stepwell.limits import DEDUPE_WINDOW
from stepwell.model.changes import HoldEvent, Plan, PutCell, SaveEvent, SaveStep
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.history import Cell, Outcome
from stepwell.model.place import place_of
from stepwell.model.questions import GetCell, GetEvent, GetRun, GetSteps, HeldEvents, ListApps, ask
from stepwell.model.run import Rerun, Run
from stepwell.model.step import DEFER, REQUESTS, Step, StepStatus

_DEDUPE_MS: Final = DEDUPE_WINDOW // type(DEDUPE_WINDOW)(milliseconds=1)
_RUN_KINDS: Final = frozenset({"run", "aiWrap"})
TAKE_INPUT: Final = _RUN_KINDS | REQUESTS
_ONE_VALUE: Final = frozenset({"sleep", DEFER})  # what comes of these is always the same
_EVENT_RESULT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_values: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class FromStep(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run is to begin that repeats another, and what is to be other than it was.

    ``step`` is what the user calls it, or the wire's id. ``input`` is JSON text of an array: the arguments of its body.
    ``outputs`` are results by step, JSON text, in place of those that there were: of steps before it, or its own.
    """

    step: str
    input: bytes | None = None
    outputs: Mapping[str, bytes] = {}


def rerun(
    draft: Draft, run_id: str, key: str | None = None, *, from_step: FromStep | None = None, data: bytes | None = None
) -> Plan:
    """Start a run again: a new one, for the same event, under the function as it is now (semantics §9.1, §9.2).

    The value is the new run, the outcome that says why there is none, or ``None`` if the run, its event or its function
    is not there any more. With a ``key`` the second request within 24 hours gets the run of the first. With ``data``,
    which have been checked, it is for a copy of the event with these. Raises ``NotFound`` and ``ConfigurationError``
    for a step that is not there once, and for what cannot be changed.
    """
    cell = f"rerun/{run_id}/{key}"
    if key is not None:
        seen = yield from ask(GetCell(cell, draft.now, place_of(run_id)))
        if seen is not None:
            return draft.decision((yield from ask(GetRun(seen.value))))
    run = yield from ask(GetRun(run_id))
    event = (yield from ask(GetEvent(run.event_id, run.place))) if run is not None else None
    function = draft.registry.get(run.function_id) if run is not None else None
    if run is None or event is None or function is None:
        return draft.decision(None)
    copied, record = yield from _selected(run, function, from_step, draft.now)
    if data is not None:
        if run.batch:
            raise ConfigurationError(
                f"the event of run {run.id} cannot be edited",
                f"it was started with {run.batch} events, which were collected for it",
                f"send events with the data that you want: stepwell send {event.name}; or start it again as it was",
            )
        event = replace(
            event, id=draft.moment.new_id(run.place), key=None, received_at=draft.now, data=data, source="rerun"
        )
        record = replace(record or Rerun(), edited=True)
        draft.add(SaveEvent(event))
    started = yield from start_again(draft, run, event, function, record, copied)
    if isinstance(started, Outcome):
        draft.changes.clear()
        return draft.decision(started)
    if key is not None:
        draft.add(PutCell(Cell(key=cell, value=started.id, expires_at=draft.now + _DEDUPE_MS), run.place))
    yield from announce(draft)  # it may have taken the place of another
    return draft.decision(started)


def start_again(
    draft: Draft, run: Run, event: Event, function: Function, record: Rerun | None = None, copied: Sequence[Step] = ()
) -> Generator[Any, Any, Run | Outcome]:
    """A new run in place of this one, which knows these steps from the beginning; or why there is none."""
    again = Again(original=run, record=record)
    started = yield from admit(draft, function, event, event.fields(), cron=run.cron, again=again)
    if isinstance(started, Outcome):
        return started
    if run.batch:
        for position, one in enumerate((yield from ask(HeldEvents(run.id)))):
            draft.copy(one, started.place, kept=True)
            draft.add(HoldEvent(started.id, position, one.id))
    leased = next((one for one in draft.leased if one.run.id == started.id), None) if copied else None
    for step in copied:
        own = replace(step, run_id=started.id)
        draft.add(SaveStep(own))
        if leased is not None:
            leased.learn(own)
    return started


def _selected(
    run: Run, function: Function, asked: FromStep | None, now: int
) -> Generator[Any, Any, tuple[list[Step], Rerun | None]]:
    """What the new run knows of steps from the beginning, and what is to be remembered about that.

    Those are the steps that had a result before the one that it begins with had. So what ran beside that one and was
    done before it stays, and what the code does after it is done anew.
    """
    if asked is None:
        return [], None
    steps = [step for step in (yield from ask(GetSteps(run.id))) if step.kind != DEFER]
    step = find_step(run, steps, asked.step)
    before = [each for each in steps if not each.open and (step.open or each.position < step.position)]
    given: dict[str, Step] = {}
    for name, output in asked.outputs.items():
        wanted = find_step(run, steps, name)
        if wanted.id != step.id and all(each.id != wanted.id for each in before):
            raise ConfigurationError(
                f"the output of step {wanted.name!r} cannot be given",
                f"it had no result before step {step.name!r}, with which the new run begins",
                "give outputs of earlier steps, or of that one itself",
            )
        given[wanted.id] = _overridden(wanted, output)
    if asked.input is not None:
        yield from _check_input(step, function, given, [bytes(each) for each in _values(asked.input)])
    copied = [given.get(each.id, each) for each in before]
    if step.id in given:
        last = max((each.position for each in before), default=0)
        copied.append(replace(given[step.id], position=last + 1, ended_at=step.ended_at or step.started_at, due=None))
    record = Rerun(
        from_step=step.id,
        name=step.name,
        kind=step.kind,
        copied=len(copied),
        input=asked.input.decode() if asked.input is not None else None,
        overridden=tuple(given),
    )
    if asked.input is not None and step.kind in _RUN_KINDS:
        copied.append(_asked_for(step, now))
    return copied, record


def _asked_for(step: Step, now: int) -> Step:
    """The step that the new run begins with, to be asked for by name: JavaScript 4, asked what comes next, takes a step
    with an input for one that has run."""
    return Step(
        run_id=step.run_id,
        id=step.id,
        name=step.name,
        kind=step.kind,
        status=StepStatus.QUEUED,
        repeat=step.repeat,
        started_at=now,
        parallel="alone",
    )


def find_step(run: Run, steps: Sequence[Step], name: str) -> Step:
    """The one step that is called so, or that has this id. Raises ``NotFound`` and ``ConfigurationError``."""
    found = [step for step in steps if step.id == name] or [step for step in steps if step.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(
            f"run {run.id} has {len(found)} steps {name!r}",
            "it begins with one step, and each repetition of a name is a step of its own",
            f"give the id of one of them: {', '.join(step.id for step in found[:10])}",
        )
    names = list(dict.fromkeys(step.name for step in steps))
    near = get_close_matches(name, names, 3) or names[:10]
    raise NotFound(
        f"run {run.id} has no step {name!r}",
        "its steps are those that it came to",
        f"choose one that it has, such as {' or '.join(map(repr, near))}" if near else "start it again as a whole",
    )


def _overridden(step: Step, output: bytes) -> Step:
    status = StepStatus.COMPLETED
    if step.kind in _ONE_VALUE:
        raise ConfigurationError(
            f"the output of step {step.name!r} cannot be given",
            "it is a sleep, of which nothing comes",
            "leave it out: it is over when the new run begins",
        )
    if step.kind == "waitForEvent":
        try:
            event = _EVENT_RESULT.decode(output)
        except msgspec.MsgspecError:
            event = {}
        if event is None:
            status = StepStatus.TIMED_OUT
        elif not {"name", "data"} <= event.keys():
            raise ConfigurationError(
                f"the output of step {step.name!r} cannot be given so",
                "what comes of a wait for an event is an event, or null if none came in time",
                'give all of it, as in {"name": "app/paid", "data": {…}}',
            )
    return replace(step, status=status, output=output)


def _check_input(
    step: Step, function: Function, given: Mapping[str, Step], values: Sequence[bytes]
) -> Generator[Any, Any, None]:
    """Raises ``ConfigurationError`` if the input of this step cannot be replaced."""
    if step.id in given:
        raise ConfigurationError(
            f"step {step.name!r} is given an input and an output",
            "with an output it does not run",
            "give one of the two",
        )
    if step.kind not in TAKE_INPUT:
        raise ConfigurationError(
            f"the input of step {step.name!r} cannot be replaced",
            f"it is of the kind {step.kind!r}, which has no arguments",
            "leave the input out; the data of the event can be edited as well",
        )
    if step.kind in REQUESTS:
        if len(values) != 1 or not values[0].startswith(b"{"):
            raise ConfigurationError(
                f"the input of step {step.name!r} is no request",
                "it is one object: members of the body that a model is sent, or of a request",
                'give it like [{"model": "small"}], or [{"url": "https://…"}]',
            )
        return
    if function.url is None:
        return
    app = next((app for app in (yield from ask(ListApps())) if app.id == function.app_id), None)
    if app is not None and app.sdk.startswith("py:"):
        raise ConfigurationError(
            f"the input of step {step.name!r} cannot be replaced",
            f"its app runs Inngest's SDK for Python ({app.sdk}), which would take it for the step's result",
            "edit the data of the event, or give the outputs of earlier steps",
        )
