"""The logger of everything that runs. It speaks through the standard library's ``stepwell`` logger.

An embedded engine is a guest: it must not print, nor depend on how its host has configured structlog. Fields are part
of the message for people, and of ``record.stepwell`` for machines.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import structlog


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    text = str(event.pop("event", ""))
    trace = event.pop("exc_info", None)
    fields = " ".join(f"{name}={value!r}" for name, value in event.items())
    return (f"{text}: {fields}" if fields else text,), {"exc_info": trace, "extra": {"stepwell": dict(event)}}


log: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    logging.getLogger("stepwell"),
    processors=[structlog.stdlib.filter_by_level, _render],
    wrapper_class=structlog.stdlib.BoundLogger,
)
