"""Commands to copy: what a person does here, for a terminal."""

from __future__ import annotations

import shlex
from typing import Final

import msgspec

_KEY: Final = "$INNGEST_EVENT_KEY"


def curl(base: str, name: str, data: bytes = b"{}", *, production: bool) -> str:
    """Sends an event of this name with this data, which is JSON, to the server at this address."""
    body = msgspec.json.encode({"name": name, "data": msgspec.Raw(msgspec.json.format(data, indent=0))}).decode()
    return f'curl "{base}/e/{_KEY if production else "dev"}" --json {shlex.quote(body)}'
