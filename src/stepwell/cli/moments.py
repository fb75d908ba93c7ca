"""Moments on the command line: as RFC 3339 writes them, or how long ago."""

from __future__ import annotations

import click

from stepwell.errors import ConfigurationError
from stepwell.model.duration import to_ms
from stepwell.model.event import rfc3339
from stepwell.views.wording import parse_moment


def moment(option: str, text: str | None, now: int) -> str | None:
    """The moment that is meant, as the server reads it."""
    if text is None:
        return None
    words = text.strip().removesuffix("ago").strip()
    try:
        return rfc3339(max(0, now - to_ms(words)))
    except ConfigurationError:
        pass
    try:
        return rfc3339(parse_moment(text))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a moment. Write 2026-01-02T03:04:05Z, or how long ago: 2h.", param_hint=option
        ) from None
