"""``/runs/{run_id}/as/{form}``: a run as text to be copied: a Python test, commands for curl or for our own."""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.dashboard.as_commands import cli_text, curl_text, origin
from stepwell.dashboard.as_test import Told, Unfit, python_test
from stepwell.dashboard.page import Data, Missing, Page, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.limits import COPIED_BYTES_MAX
from stepwell.model.event import FAILED, FINISHED, Event
from stepwell.model.questions import Attempts, GetEvent, GetSteps, HeldEvents
from stepwell.model.run import Run
from stepwell.model.step import DEFER

_encode: Final = msgspec.json.Encoder().encode
_TOO_LONG: Final = f"# This run has more than {COPIED_BYTES_MAX // 1024:,} KiB of values: too much to be copied.\n"


class _Copied(msgspec.Struct, frozen=True):
    text: str


async def show(visit: Visit) -> Data:
    run = await find_run(visit)
    form = visit.path["form"]
    event = await visit.source.reader.read(GetEvent(run.event_id, run.place))
    url = origin(visit.query.get("origin", ""))
    if form == "test":
        text = await _test(visit, run, event)
    elif form == "curl":
        text = curl_text(run, event, url, production=visit.source.production)
    elif form == "cli":
        text = cli_text(run, event, url)
    else:
        raise Missing("A run cannot be copied in that form", "There are test, curl and cli.")
    return Data(_encode(_Copied(text if len(text.encode()) <= COPIED_BYTES_MAX else _TOO_LONG)))


async def _test(visit: Visit, run: Run, event: Event | None) -> str:
    reader, registry = visit.source.reader, visit.source.registry()
    function = registry.of_run(run.function_id)
    if function is None:
        return f"# There is no function {run.function_id} any more that could be tested.\n"
    steps = await reader.read(GetSteps(run.id))
    if sum(len(step.output or b"") for step in steps) > COPIED_BYTES_MAX:
        return _TOO_LONG
    batch: list[Event] = await reader.read(HeldEvents(run.id)) if run.batch is not None else []
    events = batch or ([event] if event is not None else [])
    heard = {each.name for each in events} | {FAILED, FINISHED}
    also = {match.function.id for name in heard for match in registry.matches(name)}
    deferred = {each.function_id for step in steps if step.kind == DEFER and (each := _deferred(step.details))}
    others = sorted(
        each for each in also | deferred if each != function.id and _app(registry.get(each)) == function.app_id
    )
    attempts = await reader.read(Attempts(run.id))
    try:
        return python_test(Told(run, function, events, steps, attempts, others))
    except Unfit as why:
        return f"# {why}\n"


class _Details(msgspec.Struct):
    function_id: str = ""


def _deferred(details: bytes | None) -> _Details | None:
    return msgspec.json.decode(details, type=_Details) if details else None


def _app(function: object) -> str:
    return str(getattr(function, "app_id", ""))


PAGE: Final = Page(path="/runs/{run_id}/as/{form}", show=show, section="runs")
