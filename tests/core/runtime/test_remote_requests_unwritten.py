"""Requests for steps whose results cannot be written down."""

from __future__ import annotations

import pytest

from stepwell.engine import progress
from stepwell.errors import StorageUnavailable
from stepwell.model.changes import Decision, DropRequest
from stepwell.model.questions import Attempts, GetStep
from stepwell.testing.views import RunView
from tests.core.runtime.flows import DIALECTS
from tests.core.runtime.requesting import API
from tests.core.runtime.scripted import Javascript, Steps, hashed, pause
from tests.core.runtime.wired import Wired


def breaks(monkeypatch, times):
    """The engine has a fault: what became of requests cannot be written down, so many times."""
    real, left = progress.answered, iter(range(times))

    def faulty(*given):
        if next(left, None) is not None:
            raise ZeroDivisionError("planted")
        return real(*given)

    monkeypatch.setattr("stepwell.runtime.live_call.progress.answered", faulty)


@pytest.mark.sqlite("counts how often a plan is made, which on PostgreSQL is once more")
@DIALECTS
def test_what_cannot_be_written_down_of_a_request_spends_an_attempt_of_the_step(dialect, monkeypatch, caplog):
    with Wired(dialect, retry_interval=60_000) as t:

        @t.function("f", retries=1)
        async def f(s: Steps):
            return (await s.fetch("get", API))["body"]

        breaks(monkeypatch, 1)
        t.answer_fetch(API, body="got")
        run = t.finish("f")

        assert run.output == "got"
        assert [made.at - t.fetches[0].at for made in t.fetches] == [0, 60_000]
        (failed,) = [each for each in t.ask(Attempts(run.id)) if each.error]
        assert b"ZeroDivisionError in the server" in failed.error
        assert "a request went wrong" in caplog.text


@DIALECTS
def test_what_cannot_be_written_down_at_all_spends_the_attempts_of_the_run(dialect, monkeypatch):
    with Wired(dialect, retry_interval=60_000) as t:

        @t.function("f", retries=2)
        async def f(s: Steps):
            return (await s.fetch("get", API))["body"]

        breaks(monkeypatch, 100)
        t.answer_fetch(API, body="got")
        run = t.finish("f")

        assert (run.status, len(t.fetches)) == ("FAILED", 3)
        assert run.error is not None
        assert (run.error.name, run.error.message) == ("ZeroDivisionError", "the call could not go on: planted")


def test_what_a_call_waits_for_is_read_again_while_the_disk_fails(monkeypatch):
    with Wired() as t:

        @t.function("f")
        async def f(s: Javascript):
            async def waits():
                await s.wait("w", "heard")
                return await s.run("after")

            return await s.group(waits, lambda: s.fetch("get", API), mode="race")

        t.answer_fetch(API, after="30m")
        run = t.start("f")
        real, failed = t.store.read, []

        async def faulty(question):
            if isinstance(question, GetStep) and not failed:
                failed.append(question)
                raise StorageUnavailable("disk I/O error", "planted", "wait")
            return await real(question)

        monkeypatch.setattr(t.store, "read", faulty)
        t.send("heard", {"n": 1})
        t.advance("1m")

        assert (run.steps["after"].status, len(failed)) == ("COMPLETED", 1)


async def gone(t: Wired, run: RunView) -> None:
    await t.store.commit(Decision((DropRequest(run.id, hashed("get")),)))


def test_what_comes_after_a_result_has_all_its_attempts():
    with Wired() as t:

        @t.function("f")
        async def f(s: Steps):
            if not s.memos and s.attempt == 0:
                raise ValueError("the first time")
            await s.fetch("get", API)
            return await s.run("long", lambda: pause(10))

        t.answer_fetch(API, after="1s")
        run = t.start("f")
        t.advance("5s")
        before = len(t.app.requests)
        t.kill()
        t.advance("1h")

        assert run.status == "COMPLETED"
        assert [each.ctx["attempt"] for each in t.app.requests[before:]] == [0, 0]
