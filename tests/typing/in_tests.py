"""``stepwell.testing``, as tests of users write it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_type

from stepwell.testing import TIMEOUT, Harness, RunView, StepView, harness
from tests.typing.async_functions import app, bodies
from tests.typing.classes import Ordered, Receipt


def test_it_bills() -> None:
    with harness(app, start="2026-01-01T09:00:00Z", seed=7, retry_interval="1s") as t:
        assert_type(t, Harness)
        t.stub("charge", Receipt(number=7), function=bodies)
        t.stub("pack", lambda order_id: [order_id])  # pyright: ignore[reportUnknownLambdaType]
        t.stub("paid", TIMEOUT)
        assert_type(t.send(Ordered(order_id="1", amount=2)), list[str])
        assert_type(t.send("shop/x", {"n": 1}, id="x"), list[str])
        t.advance("1h")
        t.advance(timedelta(days=1))
        t.advance_to(datetime(2027, 1, 1))  # noqa: DTZ001
        t.run_until_idle()
        t.crash(down="1h")
        assert_type(t.now, datetime)
        run = t.run(bodies)
        assert_type(run, RunView)
        assert_type(t.runs(), list[RunView])
        assert_type(run.steps, dict[str, StepView])
        assert_type(run.steps["charge"].attempts, int)
        assert_type(run.status, str)
        assert_type(run.waiting_for, str | None)
        assert_type(run.trace(), str)
        assert_type(t.cancel(run), bool)
        t.assert_completed(run, {"lines": ["done"]})
        t.assert_failed(run, containing="nobody paid")
        t.assert_waiting(run, "paid")
        t.assert_cancelled(run)
        t.assert_steps(run, "charge", "pack")
