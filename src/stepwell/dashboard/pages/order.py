"""``/bulk/{order_id}``: what is being done about many runs, and how far that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.ids import is_ulid
from stepwell.model.order import Order, OrderKind
from stepwell.model.questions import GetOrder
from stepwell.views.replay import rate_text
from stepwell.views.wording import clock_time, count

_COUNTING_MS: Final = 60_000  # runs were counted and somebody was asked: until then is until it was ordered


class OrderView(NamedTuple):
    """An order as it is at the moment ``now``."""

    order: Order
    now: int

    @property
    def title(self) -> str:
        """What was ordered."""
        if self.order.what.name:
            return self.order.what.name
        return f"Cancel runs of {self.of}" if self.order.kind == OrderKind.CANCEL else f"Run {self.of} again"

    @property
    def of(self) -> str:
        """Whose runs, in words."""
        functions = self.order.what.functions
        return functions[0] if len(functions) == 1 else f"{len(functions)} functions of {self.order.what.app_id}"

    @property
    def statuses(self) -> str:
        """How the runs were, in words."""
        return " or ".join(each.lower() for each in self.order.what.statuses)

    @property
    def which(self) -> str:
        """Which of their runs, in words."""
        return ", ".join(self._which())

    @property
    def verb(self) -> str:
        """What becomes of the runs."""
        return "cancelled" if self.order.kind == OrderKind.CANCEL else "started again"

    @property
    def rate(self) -> str | None:
        """How many are started in which time, if that was said."""
        return rate_text(self.order.what)

    @property
    def far(self) -> str:
        """How many it was done with, and of how many if they were counted."""
        done, matched = self.order.done, self.order.what.matched
        return count(done, "run") if matched is None else f"{done:,} of {matched:,}"

    @property
    def past(self) -> int:
        """How many of those that were counted are done with."""
        return min(self.order.done + self.order.skipped, self.order.what.matched or 0)

    def _which(self) -> Iterator[str]:
        what = self.order.what
        yield self.statuses
        if what.created_after is not None:
            yield f"created since {clock_time(what.created_after, self.now)} UTC"
        if what.created_before + _COUNTING_MS < self.order.created_at:
            yield f"created until {clock_time(what.created_before, self.now)} UTC"
        if what.condition:
            yield f"only if {what.condition}"
        if self.rate:
            yield f"at most {self.rate}"


async def find_order(visit: Visit) -> Order:
    """The order in the address. Raises ``Missing``."""
    order_id = visit.path["order_id"]
    found = await visit.source.reader.read(GetOrder(order_id)) if is_ulid(order_id) else None
    if found is None:
        raise Missing("There is no such order")
    return found


async def show(visit: Visit) -> Shown:
    view = OrderView(await find_order(visit), visit.now)
    return Shown(title=view.title, view=view, topics=("orders",))


PAGE: Final = Page(path="/bulk/{order_id}", show=show, section="runs", template="order.html", parts=("progress",))
