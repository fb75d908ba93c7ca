"""What the commands share that let a run go on before its time."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from stepwell.cli.client import connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json
from stepwell.views.nouns import View

V = TypeVar("V", bound=View)


def hurry(
    id: str, way: str, step: str | None, kind: type[V], *, as_json: bool, url: str | None, token: str | None
) -> V | None:
    """Ask that a run goes on in this ``way``, in all its steps or one, and give what was done; nothing where that is
    printed for programs."""
    api = connect(url, None, token)
    try:
        answer = api.post(f"/v2/runs/{run_id(api, id)}/{way}", msgspec.json.encode({"stepId": step}))
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(answer).data))
        return None
    shown: V = data(answer, kind)
    return shown
