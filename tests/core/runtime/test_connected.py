"""How runs go on whose workers connect, come and go, in virtual time. Numbers are those of protocol §14."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell.ids import RandomIds
from stepwell.protocol.connect import (
    ExecutorRequest,
    ExtendLeaseAck,
    Frame,
    Kind,
    Status,
    WorkerReply,
    decode,
)
from stepwell.runtime.remote import Remote, call_url
from stepwell.runtime.signed import Signed
from stepwell.runtime.workers import Worker, Workers
from tests.core.runtime.scripted import Javascript, Python, Steps, pause
from tests.core.runtime.wired import URL, Wired

_STATUS = {206: Status.NOT_COMPLETED, 200: Status.DONE, 400: Status.DONE}
_LEASE_S = 120


class Connected(Wired):
    """The functions are those of workers, which answer as the apps of ``Wired`` do over HTTP."""

    url = "wss://connect"

    def join(self, name: str, *, capacity: int = 1_000) -> Program:
        return Program(self, name, capacity)

    def _remote(self) -> Remote:
        self.workers = Workers(self._clock, self._timers, RandomIds(1), lease_ms=_LEASE_S * 1_000)
        calls = Signed(self.app, self._clock)
        return Remote(calls, self._where, self._clock, self._ids, workers=self.workers, owner=lambda function_id: "app")


class Program:
    """A worker, which does its work until it dies, and says nothing while it is frozen."""

    def __init__(self, t: Connected, name: str, capacity: int) -> None:
        self.t = t
        self.name = name
        self._awake = asyncio.Event()
        self._awake.set()
        self.calls: list[ExecutorRequest] = []
        self.answered: list[str] = []
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._leases: dict[str, str] = {}
        functions = frozenset(str(config["id"]) for config in t._configs)
        self.connection = Worker(name, name, {"app": functions}, self._hear, capacity=capacity, connected_at=0)
        t.workers.join(self.connection)
        t.workers.make_ready(self.connection)
        t._do(lambda: t.engine.serve(functions))
        t._loop.create_task(_beat())

    def pause(self) -> None:
        """It is about to end, and takes no more calls."""
        self.t.workers.pause(self.connection)

    def leave(self) -> None:
        """Its connection breaks."""
        self.t.workers.leave(self.connection)

    def die(self) -> None:
        for task in self._busy.values():
            task.cancel()
        self.leave()

    def freeze(self) -> None:
        self._awake.clear()

    def thaw(self) -> None:
        self._awake.set()

    def _hear(self, message: bytes) -> None:
        said = decode(Frame, message)
        if said.kind == Kind.GATEWAY_EXECUTOR_REQUEST:
            call = decode(ExecutorRequest, said.payload)
            self.calls.append(call)
            self._leases[call.request_id] = call.lease_id
            self._busy[call.request_id] = asyncio.get_running_loop().create_task(self._work(call))
        elif said.kind == Kind.WORKER_REQUEST_EXTEND_LEASE_ACK:
            decode(ExtendLeaseAck, said.payload)

    async def _work(self, call: ExecutorRequest) -> None:
        await self._awake.wait()
        self.t.workers.acked(call.request_id, self.connection)
        extending = asyncio.get_running_loop().create_task(self._extend(call))
        try:
            url = call_url(URL, call.function_slug, call.step_id or "step")
            found = await self.t.app.request("POST", url, {}, call.request_payload)
        finally:
            extending.cancel()
        await self._awake.wait()
        answer = WorkerReply(
            request_id=call.request_id,
            status=_STATUS.get(found.status, Status.ERROR),
            body=found.body,
            no_retry=found.headers.get("x-inngest-no-retry") == "true",
            sdk_version="test:v1",
            request_version=self.t.app.version,
        )
        self.t.workers.replied(answer, lambda: self.answered.append(call.request_id), self.connection)

    async def _extend(self, call: ExecutorRequest) -> None:
        while True:
            await pause(_LEASE_S / 4)
            await self._awake.wait()
            lease = self.t.workers.extended(call.request_id, self._leases[call.request_id], self.connection)
            if lease is None:
                self._busy[call.request_id].cancel()  # as Python does
                return
            self._leases[call.request_id] = lease


async def _beat() -> None:
    """That it is there makes time pass; what it says by that is the gateway's business."""
    while True:
        await pause(10)


@pytest.fixture(params=[Javascript, Python])
def dialect(request: pytest.FixtureRequest) -> type[Steps]:
    found: type[Steps] = request.param
    return found


async def slow(s: Steps) -> Any:
    one = await s.run("one", lambda: _after(20, "one"))
    return [one, await s.run("two")]


async def wide(s: Steps) -> Any:
    return await s.group(lambda: s.run("a", lambda: _after(20, "a")), lambda: s.run("b", lambda: _after(30, "b")))


async def _after(seconds: float, value: str) -> str:
    await pause(seconds)
    return value


def test_107_runs_are_called_over_a_connection(dialect: type[Steps]) -> None:
    with Connected(dialect) as t:
        t.function("f")(slow)
        worker = t.join("one")
        run = t.finish("f")

        assert run.output == ["one", "two"]
        assert worker.answered == [call.request_id for call in worker.calls]


@pytest.mark.parametrize("function", [slow, wide])
@pytest.mark.parametrize("last", ["pause", "leave"])
def test_112_a_run_whose_last_worker_goes_waits_for_another_and_spends_no_attempt(
    dialect: type[Steps], function: Any, last: str
) -> None:
    """A deployment takes longer than anybody holds on to a call; the function has no other attempt (K28)."""
    with Connected(dialect) as t:
        t.function("f", retries=0)(function)
        worker = t.join("old")
        run = t.start("f")
        t.advance("10s")
        getattr(worker, last)()  # it finishes what it has, and says so
        t.advance("1h")
        assert (t.runs("f")[0].status, t.app.busy) == ("RUNNING", 0)
        assert worker.answered, "what it had is written down"

        new = t.join("new")
        t.advance("1m")
        (run,) = t.runs("f")
        assert (run.status, run.output) == (
            "COMPLETED",
            {"slow": ["one", "two"], "wide": ["a", "b"]}[function.__name__],
        )
        assert new.calls
        assert (
            sorted(name for _, name, _ in t.app.started)
            == {"slow": ["one", "two"], "wide": ["a", "b"]}[function.__name__]
        )


def test_k27_runs_move_on_when_a_worker_freezes(dialect: type[Steps]) -> None:
    """What it had is asked for again after its lease; what it gets meanwhile, after seconds, and that is little."""
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        bad = t.join("bad")
        for _ in range(5):
            t.send("f")
        t.advance("5s")
        good = t.join("good")
        bad.freeze()
        for _ in range(10):
            t.send("f")
            t.advance("1s")
        t.advance("5s")
        known = len(bad.calls)
        for _ in range(10):
            t.send("f")
        t.advance("30s")
        assert len(bad.calls) == known, "one that has gone mute gets nothing while there is another"
        t.advance("4m")

        assert [run.output for run in t.runs("f")] == [["one", "two"]] * 25
        bad.thaw()
        t.advance("1m")
        assert [run.output for run in t.runs("f")] == [["one", "two"]] * 25
        assert len(good.calls) > 25


def test_k27_runs_move_on_when_a_worker_dies(dialect: type[Steps]) -> None:
    with Connected(dialect) as t:
        t.function("f", retries=0)(wide)
        bad = t.join("bad")
        for _ in range(5):
            t.send("f")
        t.advance("5s")
        t.join("good")
        bad.die()
        t.advance("119s")
        assert {run.status for run in t.runs("f")} == {"RUNNING"}
        t.advance("61s")

        assert [run.output for run in t.runs("f")] == [["a", "b"]] * 5


def test_a_worker_that_was_busy_with_itself_does_its_work_once(dialect: type[Steps]) -> None:
    """It is the only one. It has the call, and says so a minute late."""
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        worker = t.join("only")
        worker.freeze()
        t.send("f")
        t.advance("1m")
        worker.thaw()
        t.advance("1m")

        assert t.run("f").output == ["one", "two"]
        assert [name for _, name, _ in t.app.started] == ["one", "two"]


def test_k29_what_is_said_after_the_end_revives_nothing(dialect: type[Steps]) -> None:
    with Connected(dialect) as t:
        t.function("f")(slow)
        worker = t.join("one")
        t.finish("f")
        for call in worker.calls:
            t.workers.acked(call.request_id, worker.connection)
            assert t.workers.extended(call.request_id, call.lease_id, worker.connection) is None
        t.advance("1h")

        assert len(t.app.started) == 2
        assert [state.in_flight for state in t.workers.of("app")] == [0]


def test_k11_a_cancelled_run_takes_its_call_with_it_and_starts_anew(dialect: type[Steps]) -> None:
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        worker = t.join("one", capacity=1)
        run = t.start("f")
        t.advance("5s")
        t.cancel(run)
        assert t.runs("f")[0].status == "CANCELLED"
        again = t.rerun(run)
        t.advance("2m")

        assert [each.status for each in t.runs("f")] == ["CANCELLED", "COMPLETED"]
        assert again.id == t.runs("f")[1].id
        assert worker.answered[-1] == worker.calls[-1].request_id


def test_a_server_that_dies_goes_on_with_the_workers_that_come_to_the_next(dialect: type[Steps]) -> None:
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        old = t.join("old")
        for _ in range(3):
            t.send("f")
        t.advance("5s")
        t.kill()
        old.die()
        t.advance("5m")
        assert {run.status for run in t.runs("f")} == {"RUNNING"}
        t.join("new")
        t.advance("5m")

        assert [run.output for run in t.runs("f")] == [["one", "two"]] * 3


def test_calls_wait_for_room_and_spend_no_attempt(dialect: type[Steps]) -> None:
    """Also when that takes longer than any call may."""
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        t.function("hog", retries=0)(lambda s: s.run("hog", lambda: _after(3 * 3600, "hog")))
        hog = t.join("one", capacity=1)
        t.send("hog")
        t.advance("1s")
        t.send("f")
        t.advance("110m")
        assert (t.run("f").status, len(hog.calls)) == ("RUNNING", 1)
        t.advance("3h")

        assert t.run("f").output == ["one", "two"]


@pytest.mark.parametrize("away", ["1m", "10m"])
def test_a_step_that_takes_two_workers_with_it_has_failed(dialect: type[Steps], away: str) -> None:
    """Also where the second one comes when the run has been put aside for want of any."""
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        first = t.join("one")
        t.send("f")
        t.advance("10s")
        first.die()
        t.advance(away)
        assert t.run("f").status == "RUNNING"
        second = t.join("two")
        t.advance("1m" if away == "1m" else "10s")
        assert len(second.calls) == 1
        second.die()
        t.advance("100s")
        assert t.run("f").status == "RUNNING"
        t.advance("1m")

        run = t.run("f")
        assert (run.status, run.error.message) == ("FAILED", "the workers that had the call went silent")


def test_a_step_that_has_outlived_a_worker_goes_on_with_the_next(dialect: type[Steps]) -> None:
    with Connected(dialect) as t:
        t.function("f", retries=0)(slow)
        for name in ("one", "two"):  # the second one dies in another step
            worker = t.join(name)
            if name == "one":
                t.send("f")
            t.advance("10s" if name == "one" else "30s")
            worker.die()
            t.advance("10m")
        t.join("three")
        t.advance("10m")

        assert t.run("f").output == ["one", "two"]
