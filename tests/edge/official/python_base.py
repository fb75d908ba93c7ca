"""What the functions of ``python_behaviours`` share: their client with its hooks, and how they are declared."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from pathlib import Path
from typing import Any

import inngest

from tests.edge.official.python_app import note


class _Ledger(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text in ("before", "between", "after"):
            note("logged", text=text)


logs = logging.Logger("ledger")
logs.addHandler(_Ledger())


class Hooks(inngest.Middleware):
    """Changes what goes in, what steps give and what is sent, and notes when it is called."""

    async def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
        ctx.event.data["added"] = "by hooks"

    async def before_execution(self) -> None:
        note("hook", of="before")

    async def transform_output(self, result: inngest.TransformOutputResult) -> None:
        if isinstance(result.output, str):
            result.output = result.output.upper()

    async def before_send_events(self, events: list[inngest.Event]) -> None:
        for event in (event for event in events if event.name == "py/stamped"):
            event.data = {**event.data, "stamp": "hooks"}


client = inngest.Inngest(app_id="py", logger=logs, serializer=inngest.PydanticSerializer())
HOUR = datetime.timedelta(hours=1)
FUNCTIONS: list[Any] = []


def define(name: str, *, event: str | None = None, expression: str | None = None, **options: Any) -> Any:
    """A function of the client, started by the event of its name."""
    options.setdefault("trigger", inngest.TriggerEvent(event=event or f"py/{name}", expression=expression))

    def add(handler: Any) -> Any:
        function: Any = client.create_function(fn_id=name, **options)(handler)
        FUNCTIONS.append(function)
        return function

    return add


async def noted(what: str) -> str:
    note(what)
    return what


async def gate(name: str) -> str:
    """Wait until the test opens it."""
    note(f"at {name}")
    await asyncio.to_thread(opened, Path(name))
    return name


def opened(file: Path) -> None:
    """Wait until there is this file."""
    while not file.exists():
        time.sleep(0.01)


async def clean_up(ctx: inngest.Context) -> None:
    """What is to be done when a run has failed, which fails as well."""
    failed: Any = ctx.event.data
    await ctx.step.run("clean up", noted, "clean up")
    note("failed", message=failed["error"]["message"], of=failed["event"]["data"], run=failed["run_id"])
    raise inngest.NonRetriableError("the handler fails as well")
