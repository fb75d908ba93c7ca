"""``/runs``: all runs, newest first, by state, function, app, age, and whatever is said in the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.engine.registry import Registry
from stepwell.errors import InvalidExpression
from stepwell.expressions import compile_expression
from stepwell.ids import is_ulid
from stepwell.model.questions import ListRuns
from stepwell.model.run import Run, RunStatus
from stepwell.views.nouns import Reader
from stepwell.views.search import Found, Wanted, exact, search

_ROWS: Final = 50
_COUNTED: Final = 100  # of each state: a count that goes on would cost more with each that fails
_STATES: Final = (
    RunStatus.RUNNING,
    RunStatus.QUEUED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
    RunStatus.COMPLETED,
)
_HOUR: Final = 3_600_000
AGES: Final = {
    "15m": ("Last 15 minutes", _HOUR // 4),
    "1h": ("Last hour", _HOUR),
    "24h": ("Last 24 hours", 24 * _HOUR),
    "7d": ("Last 7 days", 7 * 24 * _HOUR),
}
_SIGNS: Final = ("event.", "event[", "output")  # with which a condition begins that is no text


class Row(NamedTuple):
    """One run. ``app`` is that of its function, as far as that is known."""

    run: Run
    event_name: str
    app: str
    name: str

    @property
    def trigger(self) -> str:
        """What started it, in a word or two."""
        if self.run.cron is not None:
            return self.run.cron
        return self.event_name if self.run.batch is None else f"{self.event_name} ×{self.run.batch}"


class Chip(NamedTuple):
    """A state to choose. ``amount`` is how many there are, or ``None`` if counting them all would cost too much."""

    status: str
    amount: str | None


class RunsView(NamedTuple):
    """The list and what it was asked for. ``more`` is where it goes on."""

    rows: Sequence[Row]
    chips: Sequence[Chip]
    functions: Sequence[str]
    apps: Sequence[str]
    ages: dict[str, tuple[str, int]]
    status: str
    function: str
    app: str
    age: str
    q: str
    said: str
    first: bool
    filtered: bool
    more: str | None
    looked: int
    stopped: bool
    oldest: int | None
    wrong: str


async def show(visit: Visit) -> Shown:
    query, reader, registry = visit.query, visit.source.reader, visit.source.registry()
    status = query.get("status", "").upper()
    status = status if status in RunStatus.__members__ else ""
    function, app = query.get("function", ""), query.get("app", "")
    age = query.get("age", "") if query.get("age", "") in AGES else ""
    q = query.get("q", "").strip()
    wrong = ""
    try:
        found = await _find(visit, registry, status, function, app, age, q)
    except InvalidExpression as error:
        found, wrong = Found((), {}, None, 0), f"{error.what}: {error.why}"
    said = {"q": q, "status": status.lower(), "function": function, "app": app, "age": age}
    view = RunsView(
        rows=rows(found.runs, found.names, registry),
        chips=await _chips(reader),
        functions=sorted({*registry.functions, *registry.departed, *([function] if function else ())}),
        apps=sorted({each.app_id for each in registry.functions.values()} | ({app} if app else set())),
        ages=AGES,
        status=status,
        function=function,
        app=app,
        age=age,
        q=q,
        said=address("", said),
        first="before" not in query,
        filtered=any(said.values()),
        more=address(visit.address, {**said, "before": found.after}) if found.after else None,
        looked=found.looked,
        stopped=found.stopped,
        oldest=found.runs[-1].queued_at if found.runs else None,
        wrong=wrong,
    )
    return Shown(title="Runs", view=view, topics=("runs",), address=address(visit.address, said))


async def _find(visit: Visit, registry: Registry, status: str, function: str, app: str, age: str, q: str) -> Found:
    if is_ulid(q.upper()):
        return await exact(visit.source.reader, q.upper())
    condition = compile_expression(q, variables=("event", "output"), boolean=True) if q.startswith(_SIGNS) else None
    known = (*registry.functions.values(), *registry.departed.values())
    wanted = Wanted(
        status=status or None,
        function_id=function or None,
        app=frozenset(each.id for each in known if each.app_id == app) if app else None,
        since=visit.now - AGES[age][1] if age else None,
        text=q.lower() if condition is None else "",
        condition=condition,
    )
    given = visit.query.get("before", "")
    before = given if is_ulid(given) else None
    return await search(visit.source.reader, wanted, before=before, limit=_ROWS)


def rows(runs: Sequence[Run], names: Mapping[str, str], registry: Registry) -> list[Row]:
    """Runs with what stands elsewhere. ``names`` are those of their events."""
    return [_row(run, names.get(run.event_id, ""), registry) for run in runs]


def _row(run: Run, event_name: str, registry: Registry) -> Row:
    function = registry.of_run(run.function_id)
    app = function.app_id if function is not None else ""
    return Row(run, event_name, app, run.function_id.removeprefix(f"{app}-") if app else run.function_id)


async def _chips(reader: Reader) -> list[Chip]:
    found: list[Chip] = []
    for status in _STATES:
        if status is RunStatus.COMPLETED:
            found.append(Chip(status, None))  # nearly all runs do: no index has them apart
            continue
        runs: list[Run] = await reader.read(ListRuns(_COUNTED, status=status))
        count = len(runs)
        found.append(Chip(status, str(count) if count < _COUNTED else f"{_COUNTED - 1}+"))
    return found


PAGE: Final = Page(path="/runs", show=show, section="runs", template="runs.html", parts=("results",))
