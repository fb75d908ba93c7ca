"""Lines that were logged and are to be kept: as many as are, and each told once (ADR 0050, ADR 0053)."""

from __future__ import annotations

from threading import Lock
from typing import Final, Protocol

from stepwell.limits import LOG_BYTES_MAX, LOG_LINES_MAX
from stepwell.model.log import Line, Logs

_LOCK: Final = Lock()  # code logs from several threads, and what it has logged is taken in another one


class Lines:
    """The first lines of an attempt, or of the code between two steps, as many as are kept."""

    __slots__ = ("_count", "_dropped", "_lines", "_room")

    def __init__(self) -> None:
        self._lines: list[Line] = []  # those that were not told yet
        self._count = 0
        self._room = LOG_BYTES_MAX
        self._dropped = 0

    @property
    def since(self) -> int | None:
        """When the first of those was logged that were not told yet."""
        return self._lines[0].at if self._lines else None

    def add(self, line: Line) -> None:
        if self._room < 0 or self._count >= LOG_LINES_MAX or line.size > self._room:
            self._room = -1  # also for those that would fit: what is kept has no gaps
            self._dropped += 1
            return
        self._room -= line.size
        self._count += 1
        self._lines.append(line)

    def take(self) -> Logs | None:
        if not self._lines and not self._dropped:
            return None
        logs = Logs(tuple(self._lines), self._dropped)
        self._lines, self._dropped = [], 0
        return logs


class Speaker(Protocol):
    """A body that runs, or the function's own code."""

    lines: Lines | None


def add_line(speaker: Speaker, line: Line) -> bool:
    """Whether it is the first one."""
    with _LOCK:
        first = speaker.lines is None
        if speaker.lines is None:
            speaker.lines = Lines()
        speaker.lines.add(line)
        return first


def take_lines(speaker: Speaker, *, anew: bool = False) -> Logs | None:
    """What was not told yet. ``anew`` is whether there is room for as many again from now on."""
    with _LOCK:
        lines = speaker.lines
        if anew:
            speaker.lines = None
        return lines.take() if lines is not None else None
