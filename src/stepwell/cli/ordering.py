"""What ``stepwell archive``, ``unarchive``, ``drain`` and ``undrain`` share."""

from __future__ import annotations

import msgspec

from stepwell.cli.client import connect, data, opened, posted
from stepwell.cli.options import print_json
from stepwell.server.ordering import OrderView, WithdrawnView


def give(body: dict[str, object], says: str, *, as_json: bool, url: str | None, token: str | None) -> OrderView:
    """Give an order, and say what holds now: ``says`` has a place for what it is about."""
    answer = posted("/v2/orders", msgspec.json.encode(body), url=url, token=token)
    order: OrderView = data(answer, OrderView)
    if as_json:
        print_json(bytes(opened(answer).data))
    else:
        _say(says.format(about(order)))
    return order


def withdraw(
    kind: str,
    function_id: str | None,
    app_id: str | None,
    says: tuple[str, str],
    *,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Take an order back, and say so: the first of ``says`` if it held, the second if it did not."""
    query = {"kind": kind, "functionId": function_id, "appId": app_id}
    api = connect(url, None, token)
    try:
        answer = api.delete("/v2/orders", {name: value for name, value in query.items() if value})
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    found: WithdrawnView = data(answer, WithdrawnView)
    what = about(found.order) if found.order is not None else function_id or (f"app {app_id}" if app_id else None)
    _say((says[0] if found.withdrawn else says[1]).format(what or "everything"))
    if found.remains is not None:
        wider = found.remains.app_id
        verb = {"archive": "unarchive", "drain": "undrain", "pause": "resume"}[kind]
        whose = (
            f"Its app still is: stepwell {verb} --app {wider}"
            if wider
            else f"Everything still is: stepwell {verb} --all"
        )
        _say(whose)


def about(order: OrderView) -> str:
    """What it is about, in words."""
    if order.function_id is not None:
        return order.function_id
    return f"app {order.app_id}" if order.app_id is not None else "everything"


def _say(text: str) -> None:
    import click

    click.echo(text[:1].upper() + text[1:] if text.startswith(("everything", "app ")) else text)
