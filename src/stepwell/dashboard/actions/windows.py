"""What people do about events that are held back for one start: start it now, or drop them."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.action import Action, Done, Form, Given
from stepwell.dashboard.actions.functions import find_function, page_of
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.model.function import Function
from stepwell.model.history import Cell
from stepwell.model.run import Run
from stepwell.views.queues.windows import By, cells, window_view
from stepwell.views.wording import count

_RULES: Final[dict[str, By]] = {"debounce": "debounce", "batch": "batch"}


async def _find(visit: Visit) -> tuple[Function, By, Cell]:
    """The open window that the address names: by its rule, and by the value of its key. Raises ``Missing``."""
    function, by = find_function(visit), _RULES.get(visit.query.get("control", ""))
    if by is None:
        raise Missing("There is no such window", "The address says neither debounce nor batch.")
    value = visit.query.get("key", "")
    found = await cells(visit.source.reader, by, visit.now, 1, function_id=function.id, value=value)
    if not found:
        raise Missing("There is no such window", "It has closed: its run has started, or somebody dropped it.")
    return function, by, found[0]


async def _ask(visit: Visit, title: str, says: str, verb: str, *, harm: bool) -> Form:
    function, by, cell = await _find(visit)
    window = await window_view(visit.source.reader, visit.source.registry(), by, cell)
    whose = f" of {window.value}" if window.value else ""
    held = f"{count(len(window.held), 'event')}{whose} {'is' if len(window.held) == 1 else 'are'} held back."
    return Form(title=title.format(function.id), says=[held, says], verb=verb, back=page_of(function.id), harm=harm)


async def _ask_run(visit: Visit) -> Form:
    return await _ask(visit, "Start the run of {} now?", "The run that waits for them starts now.", "Start", harm=False)


async def _run(operations: Operations, visit: Visit, given: Given) -> Done:
    function, _, cell = await _find(visit)
    started = await operations.run_window(cell.key)
    if isinstance(started, Run):
        return Done(text=f"A run of {function.id} has started.", address=f"/runs/{started.id}", word="The run")
    text = "It had closed before." if started is None else f"No run was started: {started.reason}"
    return Done(text=text, address=page_of(function.id), word="The function")


async def _ask_drop(visit: Visit) -> Form:
    says = "No run starts for them, and each of them says so."
    return await _ask(visit, "Drop what is held back for {}?", says, "Drop", harm=True)


async def _drop(operations: Operations, visit: Visit, given: Given) -> Done:
    function, _, cell = await _find(visit)
    dropped = await operations.drop_window(cell.key)
    text = "What was held back is dropped." if dropped else "It had closed before."
    return Done(text=text, address=page_of(function.id), word="The function")


_PATH: Final = "/functions/{function_id}/windows"
RUN: Final = Action(name="run-window", path=f"{_PATH}/run", ask=_ask_run, act=_run)
DROP: Final = Action(name="drop-window", path=f"{_PATH}/drop", ask=_ask_drop, act=_drop)
