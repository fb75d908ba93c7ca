"""``/bulk/{order_id}``: what is being done about many runs, and how far that is."""

from __future__ import annotations

from typing import Final, NamedTuple

from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.ids import is_ulid
from stepwell.model.order import Order, OrderKind
from stepwell.model.questions import GetOrder


class OrderPage(NamedTuple):
    """An order. ``verb`` is what it does to runs."""

    order: Order
    verb: str

    @property
    def state(self) -> str:
        """As the badges have it."""
        if self.order.ended_at is None:
            return "RUNNING"
        return "ABORTED" if self.order.aborted else "COMPLETED"

    @property
    def title(self) -> str:
        """What was ordered."""
        return f"Cancel runs of {self.of}" if self.order.kind == OrderKind.CANCEL else f"Run {self.of} again"

    @property
    def of(self) -> str:
        """Whose runs, in words."""
        functions = self.order.what.functions
        return functions[0] if len(functions) == 1 else f"{len(functions)} functions of {self.order.what.app_id}"


async def find_order(visit: Visit) -> Order:
    """The order in the address. Raises ``Missing``."""
    order_id = visit.path["order_id"]
    found = await visit.source.reader.read(GetOrder(order_id)) if is_ulid(order_id) else None
    if found is None:
        raise Missing("There is no such order")
    return found


async def show(visit: Visit) -> Shown:
    found = await find_order(visit)
    verb = "cancelled" if found.kind == OrderKind.CANCEL else "started again"
    view = OrderPage(found, verb)
    return Shown(title=view.title, view=view, topics=("orders",))


PAGE: Final = Page(path="/bulk/{order_id}", show=show, section="runs", template="order.html", parts=("progress",))
