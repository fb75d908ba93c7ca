"""A run as a Python test: the event that started it, and what its steps gave in place of what they would do.

Written for ``stepwell.testing``: it runs the function's own code in virtual time, and calls nobody.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Mapping, Sequence
from pprint import pformat
from textwrap import indent
from typing import Any, Final, NamedTuple, cast

import msgspec

from stepwell.model.event import INVOKED, TIMER, Event, rfc3339
from stepwell.model.function import Function
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import DEFER, Attempt, Step, StepStatus
from stepwell.views.nouns import ErrorView, error_view

_WIDTH: Final = 100
_INTERNAL: Final = "inngest/"
_LATE_MS: Final = 500  # between an event and its run: more than that is a rule that holds runs back
_STEPS_MAX: Final = 60  # that are named: more say nothing to people
_ERROR_CHARS: Final = 120
_decode: Final = msgspec.json.Decoder().decode

_GIVEN: Final = '''
def given(*results):
    """Each time the step is tried it gives the next one; errors are raised."""
    left = list(results)

    def give(*args, **kwargs):
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        return result

    return give

'''
_CALLER: Final = """
caller = Stepwell("caller")


@caller.create_function(id="call", trigger="test/called")
async def call(ctx):
    return await ctx.step.invoke_by_id("call", {function!r}, app_id={app!r}, data=ctx.event.data)

"""


class Unfit(Exception):
    """There is no test for such a run; the text says why."""


class Told(NamedTuple):
    """All that is known of a run. ``others`` are the functions that must not start along with it."""

    run: Run
    function: Function
    events: Sequence[Event]
    steps: Sequence[Step]
    attempts: Sequence[Attempt]
    others: Sequence[str]


def python_test(told: Told) -> str:
    """The text of a test. Raises ``Unfit``."""
    run, function = told.run, told.function
    if not told.events:
        raise Unfit("The event of this run is no longer there.")
    first = told.events[0]
    cron = first.name == TIMER or run.cron is not None
    invoked = first.name == INVOKED
    if first.name.startswith(_INTERNAL) and not (cron or invoked):
        raise Unfit(f"This run was started by {first.name}, which only a server sends: no test can.")
    names: set[str] = set()
    stubs = list(_stubs(told, names))
    failed = len(told.attempts)
    own = function.id.removeprefix(f"{function.app_id}-")
    late = max(0, (run.queued_at if run.started_at is None else run.started_at) - told.events[-1].received_at)
    rest = math.ceil(late / 1000) + 1 if late > _LATE_MS and not cron else 0
    rest += failed + 1 if failed else 0
    begin = (run.scheduled_at if cron else first.received_at) - (1000 if cron else 0)
    apps = "[app, caller]" if invoked else "app"
    options = f', start="{rfc3339(begin)}"' + (', retry_interval="1s"' if failed else "")
    body = [f"t.pause({name!r})  # it is not what is tested" for name in told.others]
    body += stubs
    body += ['t.advance("1s")  # until the tick'] if cron else _sent(told.events, names, invoked=invoked)
    body += [f't.advance("{rest}s")'] if rest else []
    body += [f"run = t.run({function.id!r})"]
    body += list(_asserts(told))
    text = "\n".join(body)
    if "TIMEOUT" in text:
        names.add("TIMEOUT")
    return "".join(
        (
            f'"""Run {run.id} of {function.id} as a test: its event, and what its steps gave."""\n\n',
            _imports(names, invoked=invoked),
            f"from app import app  # where the app {function.app_id!r} is made\n\n",
            _GIVEN if "given(" in text else "",
            _CALLER.format(function=own, app=function.app_id) if invoked else "",
            f"\ndef test_{_name(own)}() -> None:\n",
            f"    with harness({apps}{options}) as t:\n",
            indent(text, " " * 8),
            "\n",
        )
    )


def _imports(names: set[str], *, invoked: bool) -> str:
    public = sorted((names - {"TIMEOUT"}) | ({"Stepwell"} if invoked else set[str]()))
    testing = "TIMEOUT, harness" if "TIMEOUT" in names else "harness"
    lines = [f"from stepwell import {', '.join(public)}"] if public else []
    return "\n".join([*lines, f"from stepwell.testing import {testing}", ""]) + "\n"


def _sent(events: Sequence[Event], names: set[str], *, invoked: bool) -> list[str]:
    if invoked:
        fields: dict[str, Any] = _decode(events[0].data)
        fields.pop("_inngest", None)
        return [f't.send("test/called", {_literal(fields)})']
    if len(events) == 1 and events[0].user is None:
        return [f"t.send({_event(events[0])})"]
    names.add("Event")
    listed = "\n".join(f"    Event({_event(event, user=True)})," for event in events)
    return [f"t.send([\n{listed}\n])"]


def _event(event: Event, *, user: bool = False) -> str:
    text = f"{event.name!r}, {_literal(_decode(event.data))}"
    if abs(event.ts - event.received_at) > _LATE_MS and event.ts > event.received_at:
        text += f", ts={event.ts}"
    return text + (f", user={_literal(_decode(event.user))}" if user and event.user is not None else "")


def _stubs(told: Told, names: set[str]) -> Iterator[str]:
    """What stands in for the steps that have a result, in the order in which they were first seen."""
    tried: dict[str, list[str]] = {}
    for attempt in told.attempts:
        tried.setdefault(attempt.step_id, []).append(_error(error_view(attempt.error), names))
    values: dict[str, list[str]] = {}
    for step in told.steps:
        if step.kind == DEFER:
            continue
        found = values.setdefault(step.name, [])
        failed = tried.get(step.id, [])
        found += failed
        if step.status == StepStatus.FAILED and not failed:
            found.append(_failure(step, names))
        elif not step.open and step.status != StepStatus.FAILED:
            found.append(_result(step, names))
    for name, found in values.items():
        if not found:
            continue
        plain = len(found) == 1 or all(each == found[0] for each in found)
        value = found[0] if plain else f"given({', '.join(found)})"
        given = "" if value == "None" else f", {value}"
        yield f"t.stub({name!r}{given}, function={told.function.id!r})"


def _result(step: Step, names: set[str]) -> str:
    if step.status == StepStatus.TIMED_OUT:
        names.add("TIMEOUT")
        return "TIMEOUT"
    value: Any = _decode(step.output) if step.output is not None else None
    if step.kind in ("waitForEvent", "waitForSignal"):
        return _literal(_member(value, "data"))
    if step.kind == "sleep":
        return "None"
    if step.kind == "fetch" and isinstance(value, dict):
        names.add("FetchResponse")
        answer = cast("Mapping[str, Any]", value)
        members = (("url", "url"), ("status", "status_code"), ("headers", "headers"), ("body", "body"))
        return f"FetchResponse({', '.join(f'{name}={_literal(answer.get(wire))}' for name, wire in members)})"
    return _literal(value)


def _member(value: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, dict) else value


def _failure(step: Step, names: set[str]) -> str:
    """Of a step that was never tried: a wait, an invoke."""
    error = error_view(step.output or b"")
    if error.name == "InngestInvokeTimeoutError":
        names.add("TIMEOUT")
        return "TIMEOUT"
    return _error(error, names)


def _error(error: ErrorView, names: set[str]) -> str:
    if error.name == "NonRetriableError":
        names.add("NonRetriableError")
        return f"NonRetriableError({error.message!r})"
    known = getattr(builtins, error.name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        try:
            if str(known(error.message)) == error.message:
                return f"{error.name}({error.message!r})"
        except TypeError:
            pass
    return f"type({error.name!r}, (Exception,), {{}})({error.message!r})"


def _asserts(told: Told) -> Iterator[str]:
    run = told.run
    if run.status == RunStatus.COMPLETED:
        yield f"t.assert_completed(run, {_literal(_decode(run.output) if run.output is not None else None)})"
    elif run.status == RunStatus.FAILED:
        message = error_view(run.output or b"").message.split("\n")[0][:_ERROR_CHARS]
        yield f"t.assert_failed(run, {message!r})"
    elif run.status == RunStatus.CANCELLED:
        yield "t.cancel(run)"
        yield "t.assert_cancelled(run)"
    for step in told.steps:
        if not run.ended and step.open and step.kind != DEFER and not step.has_body:
            yield f"t.assert_waiting(run, {_key(step)!r})"
    whole = run.status in (RunStatus.COMPLETED, RunStatus.FAILED) and len(told.steps) <= _STEPS_MAX
    if told.steps and whole and all(step.kind != DEFER for step in told.steps):
        yield f"t.assert_steps(run, {', '.join(repr(_key(step)) for step in told.steps)})"


def _key(step: Step) -> str:
    """As the harness names it."""
    return f"{step.name}:{step.repeat}" if step.repeat else step.name


def _literal(value: Any) -> str:
    return pformat(value, width=_WIDTH, sort_dicts=False)


def _name(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in text).lower()
