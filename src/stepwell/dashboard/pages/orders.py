"""``/bulk``: all that is or was to be done about many runs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.dashboard.pages.order import OrderView
from stepwell.ids import is_ulid
from stepwell.model.order import OrderKind
from stepwell.model.questions import ListOrders

_ROWS: Final = 50


class OrdersPage(NamedTuple):
    """The list; ``more`` is where it goes on."""

    rows: Sequence[OrderView]
    first: bool
    more: str | None


async def show(visit: Visit) -> Shown:
    text = visit.query.get("before", "")
    before = text if is_ulid(text) else None
    # Each kind by its own index: what is newest of all is among what is newest of each.
    of_kinds = [await visit.source.reader.read(ListOrders(kind, _ROWS + 1, before)) for kind in OrderKind]
    found = sorted((each for orders in of_kinds for each in orders), key=lambda order: order.id, reverse=True)
    shown = found[:_ROWS]
    more = address(visit.address, {"before": shown[-1].id}) if len(found) > _ROWS else None
    view = OrdersPage([OrderView(each, visit.now) for each in shown], first=before is None, more=more)
    return Shown(title="Bulk actions", view=view, topics=("orders",))


PAGE: Final = Page(path="/bulk", show=show, section="runs", template="orders.html", parts=("results",))
