"""What code logs while it runs, kept for people who look at the run: under its step and attempt (ADR 0050).

``ctx.logger`` is kept by itself. A ``LogHandler`` on any logger of the standard library keeps what that one is told
inside of functions, wherever in their code.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

from stepwell.limits import LOG_LINE_BYTES_MAX
from stepwell.model.log import Line
from stepwell.sdk.execution import EXECUTION, RUNNING, Execution
from stepwell.sdk.lines import add_line

KEPT_LEVEL: Final = logging.INFO  # from here on ctx.logger is kept, whatever the app shows of its log
_ENGINE: Final = "stepwell"  # what we say ourselves; an app's own logger is ``stepwell.<app_id>``

_format: Final = logging.Formatter().format

# Whether what is logged now was kept already, so that a handler does not keep it once more.
_KEEPING: Final[ContextVar[bool]] = ContextVar("stepwell_keeping", default=False)


class LogHandler(logging.Handler):
    """Keeps what is logged while a function or one of its steps runs, so that it is shown with the run.

    Add it to the root logger, or to those that matter: ``logging.getLogger("shop").addHandler(LogHandler())``. Its
    level, its filters and its formatter decide what is kept, and how. Outside of functions it does nothing, and what
    code between two steps says again when it is repeated is not kept again.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, if it belongs to a run."""
        running = RUNNING.get()
        execution = EXECUTION.get() if running is None else running.execution
        if execution is None or record.name == _ENGINE or _KEEPING.get():
            return
        if running is None and execution.replay.replaying:
            return
        try:
            keep(execution, record.levelno, record.name, self.format(record))
        except Exception:
            self.handleError(record)


def keep(execution: Execution, level: int, logger: str, text: str) -> None:
    """Keep a line of this call, with the step whose body says it if one does."""
    running = RUNNING.get()
    own = running is None or running.execution is not execution
    line = Line(execution.clock.now_ms(), level, logger, _shortened(text), own)
    if running is None or own:
        if not execution.keeps_own:
            return
        add_line(execution, line)
    elif running.over:
        return
    elif add_line(running, line):
        execution.speakers.append(running)
    execution.heard()


def told(level: int, logger: str, msg: object, args: tuple[Any, ...], given: Mapping[str, Any]) -> str:
    """A message as a log would have it, with the traceback of an error."""
    try:
        return _format(logging.LogRecord(logger, level, "", 0, msg, args, _error(given.get("exc_info"))))
    except Exception:  # as a handler would: a log that cannot be written is no reason to fail
        return f"{msg!r:.500} cannot be formatted with {args!r:.500}"


@contextmanager
def kept() -> Generator[None]:
    """What is logged within is kept already."""
    token = _KEEPING.set(True)
    try:
        yield
    finally:
        _KEEPING.reset(token)


def _shortened(text: str) -> str:
    data = text.encode(errors="replace")
    if len(data) <= LOG_LINE_BYTES_MAX:
        return data.decode()
    more = len(data) - LOG_LINE_BYTES_MAX
    return f"{data[:LOG_LINE_BYTES_MAX].decode(errors='ignore')}… ({more:,} more bytes)"


def _error(given: object) -> Any:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    return sys.exc_info() if given and not isinstance(given, tuple) else cast("Any", given) or None
