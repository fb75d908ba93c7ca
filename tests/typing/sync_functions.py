"""``def`` functions: the same steps, which give their results without being awaited."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, assert_type

from stepwell import Context, Function, ReceivedEvent, RunFailed, Stepwell, Sync, TriggerEvent, ai
from tests.typing.classes import Ordered, Paid, Receipt, Returned, Shipped, charge, pack

app = Stepwell("shop")


@app.create_function(id="pydantic", trigger=Ordered)
def by_pydantic(ctx: Context[Ordered, Sync]) -> int:
    return assert_type(ctx.event.data.amount, int)


@app.create_function(id="msgspec", trigger=Paid)
def by_msgspec(ctx: Context[Paid, Sync]) -> str:
    return assert_type(ctx.event.data.order_id, str)


@app.create_function(id="dataclass", trigger=TriggerEvent(Shipped))
def by_dataclass(ctx: Context[Shipped, Sync]) -> int:
    return assert_type(ctx.event.data.parcels, int)


@app.create_function(id="typed-dict", trigger=Returned)
def by_typed_dict(ctx: Context[Returned, Sync]) -> str:
    return assert_type(ctx.event.data["reason"], str)


@app.create_function(id="by-name", trigger="shop/anything")
def by_name(ctx: Context[dict[str, Any], Sync]) -> None:
    assert_type(ctx.event.data, dict[str, Any])


@app.create_function(id="by-many", trigger=[Ordered, Paid])
def by_many(ctx: Context[Ordered | Paid, Sync]) -> None:
    assert_type(ctx.event.data, Ordered | Paid)


assert_type(by_pydantic, Function[Ordered, int])
assert_type(by_name, Function[dict[str, Any], None])
assert_type(by_many, Function[Ordered | Paid, None])


def on_failure(ctx: Context[RunFailed, Sync]) -> None:
    assert_type(ctx.event.data.error.name, str)
    assert_type(ctx.step.run("note", pack, ctx.event.data.run_id), list[str])


@app.create_function(id="steps", trigger=Ordered, on_failure=on_failure)
def steps(ctx: Context[Ordered, Sync]) -> Receipt:
    step = ctx.step
    assert_type(step.run("pack", pack, "a", parcels=2), list[str])
    assert_type(step.run("async-body", charge, "a", amount=1), Receipt)
    assert_type(step.fetch("fetch", "https://api.test/").json(), Any)
    assert_type(step.ai.infer("infer", model=ai.gemini("m"), body={}), dict[str, Any])
    assert_type(step.ai.wrap("wrap", pack, "a", parcels=2), list[str])
    assert_type(step.run("lambda", lambda: ctx.event.data.amount), int)
    assert_type(step.run("partial", partial(pack, "a")), list[str])
    assert_type(step.options("options", retries=1, timeout="30s").run(pack, "a"), list[str])
    assert_type(step.options("options-async").run(charge, "a", amount=1), Receipt)
    step.sleep("sleep", "1h")
    step.sleep_until("until", datetime(2030, 1, 1, tzinfo=UTC))
    assert_type(step.wait_for_event("paid", Paid, timeout="1h"), ReceivedEvent[Paid] | None)
    assert_type(step.wait_for_event("named", "shop/x", timeout="1h"), ReceivedEvent[dict[str, Any]] | None)
    assert_type(step.invoke("invoke", by_dataclass, data=Shipped("1", 2)), int)
    assert_type(step.send_event("send", Paid("1")), list[str])
    assert_type(step.wait_for_signal("signal", "go", timeout="1h"), dict[str, Any] | None)
    assert_type(step.send_signal("tell", "go", 1), str | None)
    assert_type(step.idempotency_key, str)
    pair = ctx.group.parallel((lambda: step.run("x", pack, "x"), lambda: step.run("y", charge, "y", amount=1)))
    assert_type(pair, tuple[list[str], Receipt])
    three = ctx.group.parallel((lambda: step.run("1", len, "1"), lambda: step.run("2", str, 2), lambda: 3.0))
    assert_type(three, tuple[int, str, float])
    many = ctx.group.parallel(partial(pack, name) for name in ("x", "y"))
    assert_type(many, tuple[list[str], ...])
    hasty = ctx.group.parallel((lambda: step.run("v", len, "v"), lambda: 3.0), parallel_mode="race")
    assert_type(hasty, tuple[int, float])
    assert_type(ctx.group.race([lambda: step.run("r", len, "r"), lambda: step.run("s", len, "s")]), int)
    return step.run("charge", charge, "a", amount=1)


def main() -> None:
    assert_type(app.send_sync(Paid("1")), list[str])
