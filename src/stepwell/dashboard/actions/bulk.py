"""What people do about many runs: cancel them, start them again, and stop that. They are counted before anything is
done, and what is done is an order that goes on by itself (ADR 0021, 0026)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from stepwell.dashboard.action import Action, Choice, Done, Field, Form, Given, Kind, Wrong
from stepwell.dashboard.operations import Operations, Selected
from stepwell.dashboard.page import Missing, Visit, address
from stepwell.dashboard.pages.order import find_order
from stepwell.dashboard.pages.runs import AGES
from stepwell.model.event import rfc3339
from stepwell.model.run import RunStatus
from stepwell.views.wording import count

_APP: Final = "app:"
_SURE: Final = "sure"
_ABOUT_EVENTS: Final = ("event.", "event[")
_CONDITION_CHARS_MAX: Final = 1_000
_STATUSES: Final = {
    RunStatus.FAILED: "Failed",
    RunStatus.CANCELLED: "Cancelled",
    RunStatus.COMPLETED: "Completed",
    RunStatus.SKIPPED: "Skipped: events that a pause or a drain kept from starting one",
}
_STARTED: Final = "What was created in this time, until now if no end is given."


def _functions(visit: Visit, *, departed: bool) -> list[str]:
    registry = visit.source.registry()
    return sorted({*registry.functions, *(registry.departed if departed else ())})


def _selection(visit: Visit, choices: Sequence[Choice], chosen: str) -> list[Field]:
    """Fields that say which runs, as the list of runs is filtered."""
    query = visit.query
    age = AGES.get(query.get("age", ""))
    q = query.get("q", "").strip()
    return [
        Field(name="function", label="Function", kind=Kind.MENU, choices=choices, value=chosen, required=True),
        Field(name="after", label="Created after", value=rfc3339(visit.now - age[1]) if age else "", help=_STARTED),
        Field(name="before", label="Created before"),
        Field(
            name="condition",
            label="Only if",
            value=q if q.startswith(_ABOUT_EVENTS) else "",
            help='About the event, such as event.data.user == "ada".',
        ),
    ]


def _left_out(visit: Visit) -> list[str]:
    """What the list was searched for that cannot say which runs are meant here."""
    q = visit.query.get("q", "").strip()
    if not q or q.startswith(_ABOUT_EVENTS):
        return []
    return [f"The search for {q!r} is no part of this: say by a condition what is meant."]


def _selected(visit: Visit, given: Given) -> Selected:
    """What was chosen. Raises ``Wrong``."""
    function, after, before = given.text("function", required=True), given.moment("after"), given.moment("before")
    condition = given.text("condition", chars_max=_CONDITION_CHARS_MAX)
    given.check()
    app = function.removeprefix(_APP) if function.startswith(_APP) else None
    return Selected(
        function_id=None if app else function,
        app_id=app,
        after=after,
        before=visit.now if before is None else before,
        condition=condition or None,
    )


def _kept(given: Given, chosen: Selected) -> list[Field]:
    """What was counted is what will be done: nothing of it is asked again, and no run that is newer is meant."""
    texts = {**given.texts, "before": rfc3339(chosen.before), _SURE: "1"}
    names = ("function", "after", "before", "condition", "rate", _SURE, *(f"status-{each}" for each in _STATUSES))
    return [Field(name=name, kind=Kind.HIDDEN, value=texts[name]) for name in names if name in texts]


# Cancel --------------------------------------------------------------------------------------------------------------


async def _ask_cancel(visit: Visit) -> Form:
    choices = [Choice(value=each, word=each) for each in _functions(visit, departed=True)]
    says = ["All runs of a function that have not ended. They are counted first."]
    return Form(
        title="Cancel many runs",
        says=[*says, *_left_out(visit)],
        verb="Count them",
        back=address("/runs", visit.query),
        fields=_selection(visit, choices, visit.query.get("function", "")),
    )


async def _cancel(operations: Operations, visit: Visit, given: Given) -> Done | Form:
    chosen = _selected(visit, given)
    if chosen.function_id not in _functions(visit, departed=True):
        raise Wrong({"function": "Choose one of these."})
    if given.flag(_SURE):
        order = await operations.cancel_many(chosen, given.seed)
        return Done(text="They are being cancelled.", address=f"/bulk/{order.id}", word="How far it is", go=True)
    number = await operations.count_cancelled(chosen)
    if not number:
        raise Wrong({"function": "No run of it that has not ended fits."})
    return Form(
        title=f"Cancel {count(number, 'run')} of {chosen.function_id}?",
        says=["No further step of them begins. Runs that are created from now on are not meant."],
        verb=f"Cancel {count(number, 'run')}",
        back=address("/runs", visit.query),
        fields=_kept(given, chosen),
        harm=True,
    )


# Start again ---------------------------------------------------------------------------------------------------------


async def _ask_replay(visit: Visit) -> Form:
    registry = visit.source.registry()
    apps = sorted({each.app_id for each in registry.functions.values()})
    choices = [Choice(value=each, word=each) for each in _functions(visit, departed=False)]
    choices += [Choice(value=f"{_APP}{each}", word=f"All of the app {each}") for each in apps]
    app, status = visit.query.get("app", ""), visit.query.get("status", "").upper()
    chosen = visit.query.get("function", "") or (f"{_APP}{app}" if app else "")
    wanted = status if status in _STATUSES else RunStatus.FAILED
    flags = [
        Field(name=f"status-{each}", label=word, kind=Kind.FLAG, value="1" if each == wanted else "")
        for each, word in _STATUSES.items()
    ]
    rate = Field(name="rate", label="At most", help="How many in which time, such as 10/s. Else as fast as it goes.")
    says = "Runs that have ended start again as new runs, with the code as it is now. They are counted first."
    return Form(
        title="Run many again",
        says=[says, *_left_out(visit)],
        verb="Count them",
        back=address("/runs", visit.query),
        fields=[*_selection(visit, choices, chosen), *flags, rate],
    )


async def _replay(operations: Operations, visit: Visit, given: Given) -> Done | Form:
    chosen = _selected(visit, given)
    statuses = tuple(each for each in _STATUSES if given.flag(f"status-{each}"))
    if not statuses:
        raise Wrong({f"status-{RunStatus.SKIPPED}": "Choose at least one."})
    chosen = replace(chosen, statuses=statuses, rate=given.text("rate") or None)
    order = await operations.replay_many(chosen, given.seed, dry_run=not given.flag(_SURE))
    if given.flag(_SURE):
        return Done(text="They are being started.", address=f"/bulk/{order.id}", word="How far it is", go=True)
    number = order.what.matched or 0
    if not number:
        raise Wrong({"function": "No run of it that has ended so fits."})
    of = chosen.function_id or f"the app {chosen.app_id}"
    rate = f" At most {chosen.rate} are started." if chosen.rate else ""
    return Form(
        title=f"Run {count(number, 'run')} of {of} again?",
        says=[f"As many new runs start, for the same events.{rate} It can be stopped while it goes on."],
        verb=f"Run {number:,} again",
        back=address("/runs", visit.query),
        fields=_kept(given, chosen),
    )


# Stop ----------------------------------------------------------------------------------------------------------------


async def _ask_stop(visit: Visit) -> Form:
    found = await find_order(visit)
    if found.ended_at is not None:
        raise Missing("There is nothing to stop", "It was done meanwhile, or somebody has stopped it.")
    return Form(
        title="Stop this?",
        says=["No further run is touched. What it has done so far stays so."],
        verb="Stop it",
        back=f"/bulk/{found.id}",
    )


async def _stop(operations: Operations, visit: Visit, given: Given) -> Done:
    found = await find_order(visit)
    await operations.stop_order(found)
    return Done(text="It was stopped.", address=f"/bulk/{found.id}", word="How far it came")


CANCEL: Final = Action(name="cancel-many", path="/runs/bulk/cancel", ask=_ask_cancel, act=_cancel)
REPLAY: Final = Action(name="replay-many", path="/runs/bulk/replay", ask=_ask_replay, act=_replay)
STOP: Final = Action(name="stop-order", path="/bulk/{order_id}/stop", ask=_ask_stop, act=_stop)
