"""Finds what is meant: a run by its id, by the end of its id as the live log shows it, or ``last``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from stepwell.cli.client import Api, data
from stepwell.errors import NotFound
from stepwell.ids import is_ulid
from stepwell.views.nouns import ListedRun

_SEARCHED: Final = 500
_END: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{4,25}")


def function_path(function: str, action: str) -> str:
    """Where a function is asked to do this. The server finds it by its id, full or not."""
    return f"/v2/functions/{quote(function, safe='')}/{action}"


def run_id(api: Api, text: str) -> str:
    """Raises ``NotFound``."""
    text = text.strip()
    if is_ulid(text):
        return text
    if text.lower() == "last":
        runs: list[ListedRun] = data(api.get("/v2/runs", {"limit": "1"}), list[ListedRun])
        if not runs:
            raise NotFound(
                "there is no run yet", "no event has started one", "send one: stepwell send NAME --data '{}'"
            )
        return runs[0].id
    if is_ulid(text.upper()):
        return text.upper()
    if _END.fullmatch(text.upper()):
        runs = data(api.get("/v2/runs", {"limit": str(_SEARCHED)}), list[ListedRun])
        found = [run.id for run in runs if run.id.endswith(text.upper())]
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(f"{len(found)} runs end in {text!r}", ", ".join(found[:5]), "use the whole id")
    raise NotFound(
        f"there is no run {text!r}",
        "a run is named by its id, by the last characters of it (4 or more), or by 'last'",
        "list them: stepwell runs",
    )
