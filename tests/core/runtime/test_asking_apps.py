"""How often apps are asked what they have, in virtual time (protocol §4.8)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from stepwell.model.app import App as StoredApp
from stepwell.runtime.outbound import Reply, Unreachable
from stepwell.runtime.signed import Signed
from stepwell.server.apps import Apps
from tests.core.runtime.wired import Wired

THERE = "http://localhost:3000/api/inngest"
SDK = {"x-inngest-sdk": "inngest-py:v0.5.19"}


class There:
    """What is at the address: an app, one that refuses to say what it has, or nobody."""

    def __init__(self, t: Wired) -> None:
        self.state = "up"
        self.url = THERE
        self.asked: list[int] = []
        self._t = t

    async def answer(self, request: Any) -> Reply:
        if self.state == "down" or request.url != self.url:
            raise Unreachable("unreachable", "nobody answers")
        if request.method == "PUT":
            self.asked.append(self._t.engine.clock.now_ms())
            if self.state == "broken":
                return Reply(500, SDK, b'{"message":"broken"}')
        return Reply(200, SDK, b"{}")


@contextmanager
def asking(t: Wired, monkeypatch: Any, **options: Any) -> Iterator[tuple[There, Apps]]:
    there = There(t)
    t.app.before = there.answer

    async def is_open(self: Apps, port: int) -> bool:
        return port == 3000 and there.state != "down"

    monkeypatch.setattr(Apps, "_is_open", is_open)
    t.app.clock = t._clock
    t._do(lambda: started(t))
    apps = Apps(t.engine, Signed(t.app, t.engine.clock), **options)
    t._do(apps.start)
    yield there, apps
    t._do(apps.stop)


async def started(t: Wired) -> None:
    """The store knows an app from before."""
    app = StoredApp(id="old", url=THERE, sdk="", framework="", version="", checksum="", synced_at=1)
    await t.engine.register("old", [], app)


def gaps(moments: list[int]) -> list[int]:
    return [round((later - earlier) / 1000) for earlier, later in pairwise(moments)]


def test_an_app_that_fails_is_asked_less_and_less_often(monkeypatch):
    with Wired() as t, asking(t, monkeypatch) as (there, apps):
        there.state = "broken"
        t.advance("10m")

        assert gaps(there.asked)[:7] == [5, 5, 10, 20, 40, 60, 60]
        (found,) = apps.attached()
        assert found.error == "broken"


def test_one_that_works_again_is_asked_as_often_as_before(monkeypatch, caplog):
    caplog.set_level("INFO", logger="stepwell")
    with Wired() as t, asking(t, monkeypatch) as (there, apps):
        there.state = "broken"
        t.advance("5m")
        there.state = "up"
        t.advance("2m")

        assert gaps(there.asked)[-5:] == [5, 5, 5, 5, 5]
        assert apps.attached()[0].error is None
        assert "app is synced again" in caplog.text


def test_one_that_was_named_is_asked_all_the_time(monkeypatch):
    with Wired() as t, asking(t, monkeypatch, urls=[THERE]) as (there, _):
        there.state = "broken"
        t.advance("5m")

        assert set(gaps(there.asked)) == {5}


def test_one_that_listens_again_on_a_usual_port_is_asked_at_once(monkeypatch):
    with Wired() as t, asking(t, monkeypatch, discovers=True) as (there, apps):
        there.state = "down"
        t.advance("10m")
        assert apps.attached()[0].error is not None
        there.state = "up"
        t.advance("6s")

        assert apps.attached()[0].error is None


def test_one_that_was_found_and_never_registered_is_forgotten_when_it_is_gone(monkeypatch):
    with Wired() as t, asking(t, monkeypatch, discovers=True) as (there, apps):
        t._do(lambda: apps.remove(THERE))
        t.advance("10s")
        assert [(each.url, each.app_id) for each in apps.attached()] == [(THERE, None)]
        there.state = "broken"
        t.advance("5m")
        assert len(apps.attached()) == 1  # somebody is there, and why it fails can be seen
        there.state = "down"
        t.advance("2m")
        assert apps.attached() == []
        there.state = "up"
        t.advance("6s")

        assert [each.error for each in apps.attached()] == [None]


def test_where_one_fails_another_is_looked_for_at_the_same_port(monkeypatch):
    with Wired() as t, asking(t, monkeypatch, discovers=True) as (there, apps):
        there.url = "http://localhost:3000/x/inngest"
        t.advance("1m")

        assert {each.url: each.error for each in apps.attached()} == {THERE: "nobody answers", there.url: None}
