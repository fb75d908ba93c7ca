"""Imagined worlds in which several processes lead on one store: the invariants hold, and planted bugs are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from stepwell.engine.recovery import first_token, take_over
from stepwell.model.changes import Plan
from stepwell.runtime import decisions
from stepwell.runtime.dispatcher import Dispatcher
from stepwell.testing.node import Node
from stepwell.testing.peers import play

SEEDS = 40
SEEDS_MAX = 200


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_invariants_hold_where_several_lead(seed: int) -> None:
    report = play(seed, shards=4 if seed % 2 else 1)

    assert report.violations == (), "\n".join(report.story[-40:])


def test_a_call_that_was_fenced_off_does_not_look_for_ever_for_what_others_do() -> None:
    assert play(115).violations == ()


def test_what_makes_peers_peers_happens() -> None:
    reached = [play(seed).reached for seed in range(12)]

    for what in ("stalled", "crash", "start failed", "cancelled", "body ok", "note lease-lost"):
        assert any(each.get(what) for each in reached), what


def _lapses_the_leases_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Node.start

    async def lapsing(self: Node) -> None:
        await start(self)
        epoch = next(self.engine.decisions.tokens) // first_token(1)
        await self.engine.commit(lambda draft: take_over(draft, epoch, ()))

    monkeypatch.setattr(Node, "start", lapsing)


def _takes_nothing_from_those_who_wait_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Dispatcher) -> tuple[str, ...]:
        return ()

    monkeypatch.setattr(Dispatcher, "_waited_for", nothing)


def _decides_by_functions_that_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked(plan: Plan, stamp: int) -> Plan:
        return plan

    monkeypatch.setattr(decisions, "_unless_stale", unasked)


MUTANTS: Final[dict[str, Callable[[Any], None]]] = {
    name.removeprefix("_").replace("_", " "): plant
    for name, plant in globals().items()
    if name.startswith(("_lapses", "_takes", "_decides"))
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_worlds_find_a_peer_that(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)

    assert any(play(seed).violations for seed in range(SEEDS_MAX)), (
        f"nobody noticed in {SEEDS_MAX} seeds that it {name}"
    )
