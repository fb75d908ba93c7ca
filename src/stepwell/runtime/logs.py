"""The logger of everything that runs. It speaks through the standard library's ``stepwell`` logger.

An embedded engine is a guest: it must not print, nor decide how its host logs. Fields are part of the message for
people, and of ``record.stepwell`` for machines. The standard library is enough for that: structlog alone took 0.2 s to
import, a third of the start of ``stepwell dev``.
"""

from __future__ import annotations

import logging
from typing import Any


class Log:
    """Writes messages with fields: ``log.warning("tick failed", loop=name)``."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, text: str, **fields: Any) -> None:
        self._write(logging.DEBUG, text, fields)

    def info(self, text: str, **fields: Any) -> None:
        self._write(logging.INFO, text, fields)

    def warning(self, text: str, *, exc_info: bool = False, **fields: Any) -> None:
        self._write(logging.WARNING, text, fields, exc_info=exc_info)

    def error(self, text: str, **fields: Any) -> None:
        self._write(logging.ERROR, text, fields)

    def exception(self, text: str, **fields: Any) -> None:
        """An error, with the exception that is being handled."""
        self._write(logging.ERROR, text, fields, exc_info=True)

    def _write(self, level: int, text: str, fields: dict[str, Any], *, exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            told = " ".join(f"{name}={value!r}" for name, value in fields.items())
            message = f"{text}: {told}" if told else text
            # Not as arguments of the message: a field may hold a percent sign.
            self._logger.log(level, "%s", message, exc_info=exc_info, stacklevel=3, extra={"stepwell": fields})


log = Log(logging.getLogger("stepwell"))
