"""The live log of ``stepwell dev``: what happens, as it happens, on a thread of its own.

The event loop only puts changes into a queue. Whatever costs time (words, colours, the terminal) is the thread's, and
when more happens than anybody can read, it counts instead.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
from collections import deque
from collections.abc import Sequence
from threading import Event, Thread
from typing import Final

import click
import msgspec

from stepwell.cli.story import Line, Story
from stepwell.clock import Clock, to_datetime
from stepwell.model.changes import Change
from stepwell.model.event import rfc3339
from stepwell.model.questions import GetRun, GetSteps
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.runtime.engine import Engine
from stepwell.views.wording import printable

_BATCH_S: Final = 0.04
_BATCH_MAX: Final = 150  # decisions; more than this within one batch is more than anybody reads
_FAILURES_SHOWN: Final = 5
_LOOKUP_S, _LOOKUPS = 0.5, 20
_NAME_MAX: Final = 24
_RUN_SHOWN: Final = 6
_ASCII: Final = str.maketrans("→▶✓✗↻◷↳■○◌⌛·…", ">>+x~zi#oo!..")


class LiveLog:
    """Writes lines to standard output. ``for_programs`` makes each line a JSON object, and leaves none out."""

    def __init__(self, clock: Clock, *, for_programs: bool = False) -> None:
        self._clock = clock
        self.for_programs = for_programs
        self._out = sys.stdout
        self._colour = not for_programs and wants_colour()
        self._plain_marks = not (self._out.encoding or "").lower().startswith("utf")
        self._queue: deque[Sequence[Change] | str] = deque()
        self._woken, self._closing = Event(), Event()
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._story = Story(self._look_up)
        self._name_width = 8
        self._thread = Thread(target=self._run, name="stepwell-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def follow(self, engine: Engine) -> None:
        """Tell what this engine does, from now on. Called in its event loop."""
        self._engine, self._loop = engine, asyncio.get_running_loop()
        engine.observers.append(self.observe)

    def observe(self, changes: Sequence[Change]) -> None:
        self._queue.append(changes)
        if not self._woken.is_set():
            self._woken.set()

    def say(self, text: str) -> None:
        """A line in our own words."""
        self._queue.append(text)
        self._woken.set()

    def notice(self, text: str, colour: str | None = None) -> None:
        """A line with the time before it."""
        now = self._clock.now_ms()
        self.say(self._written(Line(at=now, kind="notice", mark="!" if colour else "·", colour=colour, text=text)))

    def close(self) -> None:
        """Write what is left."""
        self._loop = None  # nobody is there any more who could look something up
        self._closing.set()
        self._woken.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            closing = self._closing.is_set()
            self._write_queued()
            if closing:
                return
            self._closing.wait(_BATCH_S)

    def _write_queued(self) -> None:
        found: list[Sequence[Change] | str] = []
        while self._queue:
            found.append(self._queue.popleft())
        lines: list[str] = []
        if len(found) > _BATCH_MAX and not self.for_programs:
            batches = [each for each in found if not isinstance(each, str)]
            lines += [each for each in found if isinstance(each, str)]
            text, failed = self._story.summary(batches)
            lines.append(self._written(Line(at=self._clock.now_ms(), kind="notice", mark="…", text=text)))
            found = [[change] for change in failed[:_FAILURES_SHOWN]]
        for each in found:
            if isinstance(each, str):
                lines.append(each)
                continue
            lines += [self._written(line) for line in self._story.lines(each, self._clock.now_ms())]
        if lines:
            try:
                self._out.write("\n".join(lines) + "\n")
                self._out.flush()
            except (OSError, ValueError):
                self._queue.clear()  # the terminal is gone; the work goes on

    def _written(self, line: Line) -> str:
        if self.for_programs:
            fields = {name: value for name, value in msgspec.structs.asdict(line).items() if value not in (None, "")}
            for name in ("mark", "colour"):
                fields.pop(name, None)
            return msgspec.json.encode({**fields, "at": rfc3339(line.at)}).decode()
        clock = to_datetime(line.at).astimezone().strftime("%H:%M:%S.") + f"{line.at % 1000:03d}"
        mark = line.mark.translate(_ASCII) if self._plain_marks else line.mark
        text = printable(line.text)
        text = text.translate(_ASCII) if self._plain_marks else text
        if line.function or line.run:
            self._name_width = min(max(self._name_width, len(line.function)), _NAME_MAX)
            who = f"{_fitted(line.function, self._name_width)}  {line.run[-_RUN_SHOWN:]:{_RUN_SHOWN}}  "
        else:
            who = ""
        if line.kind != "notice":  # what a run said on several lines stays below its line
            text = text.replace("\n", f"\n{'':{len(clock) + 6}}")
        text = _cropped(text, len(clock) + len(who) + 5)
        if not self._colour:
            return f"{clock}  {mark} {who}{text}".rstrip()
        colour = line.colour
        bold = line.kind == "ended"
        return (
            f"{click.style(clock, dim=True)}  {click.style(mark, fg=colour, bold=True)} "
            f"{click.style(who, dim=True)}{click.style(text, fg=colour if bold or colour == 'red' else None)}"
        )

    def _look_up(self, run_id: str) -> tuple[Run, list[Step]] | None:
        engine, loop = self._engine, self._loop
        if engine is None or loop is None or loop.is_closed():
            return None

        async def read() -> tuple[Run, list[Step]] | None:
            run = await engine.store.read(GetRun(run_id))
            return (run, await engine.store.read(GetSteps(run_id))) if run is not None else None

        future = asyncio.run_coroutine_threadsafe(read(), loop)
        for _ in range(_LOOKUPS):
            try:
                return future.result(_LOOKUP_S)
            except TimeoutError:  # the loop is busy, as it is while the process starts
                if self._loop is None:
                    break
            except Exception:
                break
        future.cancel()
        return None


class Handler(logging.Handler):
    """Passes on what is logged, by us and by the app, as lines of the live log."""

    def __init__(self, live: LiveLog) -> None:
        super().__init__()
        self._live = live

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        colour = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else None
        self._live.notice(text, colour)


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _cropped(text: str, before: int) -> str:
    """One line is one line: what does not fit into the terminal is cut, into a pipe everything fits."""
    if not sys.stdout.isatty() or "\n" in text:
        return text
    room = max(shutil.get_terminal_size().columns - before, 20)
    return text if len(text) <= room else text[: room - 1] + "…"


def wants_colour() -> bool:
    """A terminal that was not asked to do without (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
