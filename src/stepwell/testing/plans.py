"""What is to happen in an imagined world, made from a seed: functions, what clients do, which faults there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from stepwell.limits import CALLS_MAX
from stepwell.model.pause import PausedEvents, PausedRuns
from stepwell.runtime.orders import REPLAYED
from stepwell.testing.faults import Faults, swarm
from stepwell.testing.programs import EVENTS, KEYS, Maker, Spec

APP: Final = "w"  # all functions belong to it
_PAUSING: Final = 0.3  # of the worlds
_REPEATING: Final = 0.3
_DEPLOYING: Final = 0.2
_ORDERING: Final = 0.2
_LIMITING: Final = 0.25
_KEY: Final = "event.data.key"
_GAPS_MS: Final = (0, 0, 0, 1, 40, 900, 5_000, 31_000, 200_000)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is done to the world ``after_ms`` after the one before it.

    ``pick`` says to whom, from 0 to 1, and ``target`` of which size a standing order is; of a pause ``events`` and
    ``runs`` are what becomes of those, of a replay ``statuses`` and ``rate`` which runs are meant and how many start
    in which time.
    """

    kind: str
    after_ms: int
    event: str = ""
    key: str = ""
    id: str | None = None
    copies: int = 1
    pick: float = 0.0
    delay_ms: int = 0
    events: str = "skip"
    runs: str = "finish"
    statuses: tuple[str, ...] = ()
    rate: str | None = None
    target: str = "function"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    functions: tuple[Spec, ...]
    actions: tuple[Action, ...]
    faults: Faults
    calls_max: int = CALLS_MAX
    shards: int = 1


def shards_of(seed: int) -> int:
    """How many shards the store of this seed's world has, where nobody says it."""
    return Random(f"shards {seed}").choice((1, 1, 4, 16))


def make_plan(seed: int, shards: int = 1) -> Plan:
    """The plan of a seed: the same one each time, in a store with so many shards."""
    random = Random(f"plan {seed}")
    functions = _with_more_rules(Random(f"rules {seed}"), Maker(random).functions(random.randint(2, 5)))
    actions = tuple(_action(random) for _ in range(random.randint(4, 14)))
    actions = _with_pauses(Random(f"pauses {seed}"), actions)
    actions = _with_reruns(Random(f"reruns {seed}"), actions)
    actions = _with_deployments(Random(f"deployments {seed}"), actions)
    actions = _with_orders(Random(f"orders {seed}"), actions)
    actions = _with_new_limits(Random(f"limits {seed}"), functions, actions)
    faults = swarm(random)
    calls_max = random.choice((1, 2, 5)) if random.random() < 0.25 else CALLS_MAX
    return Plan(seed=seed, functions=functions, actions=actions, faults=faults, calls_max=calls_max, shards=shards)


def _with_more_rules(random: Random, functions: tuple[Spec, ...]) -> tuple[Spec, ...]:
    """In some worlds functions share a limit, and clocks are missed or spread in different ways. These have chances of
    their own, so that what was found in earlier worlds is still there."""
    shared = random.choice((1, 2)) if random.random() < 0.3 else 0
    return tuple(
        msgspec.structs.replace(
            spec,
            shared_limit=shared if random.random() < 0.6 else 0,
            missed=random.choice(("latest", "skip", "all")),
            jitter_ms=random.choice((0, 0, 30_000, 300_000)),
        )
        for spec in functions
    )


def _with_pauses(random: Random, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """In some worlds a person pauses functions, and resumes them or not."""
    found = list(actions)
    for _ in range(random.randint(1, 3) if random.random() < _PAUSING else 0):
        pick, at = random.random(), random.randint(0, len(found))
        events, runs = random.choice(tuple(PausedEvents)), random.choice(tuple(PausedRuns))
        pause = Action(kind="pause", after_ms=random.choice(_GAPS_MS), pick=pick, events=events, runs=runs)
        found.insert(at, pause)
        if random.random() < 0.6:
            resume = Action(kind="resume", after_ms=random.choice(_GAPS_MS), pick=pick)
            found.insert(random.randint(at + 1, len(found)), resume)
    return tuple(found)


def _with_reruns(random: Random, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """In some worlds a person starts runs again, one or many."""
    found = list(actions)
    for _ in range(random.randint(1, 4) if random.random() < _REPEATING else 0):
        at = random.randint(len(found) // 2, len(found))
        after, pick = random.choice(_GAPS_MS), random.random()
        if random.random() < 0.5:
            found.insert(at, Action(kind="rerun", after_ms=after, pick=pick))
            continue
        statuses = tuple(status for status in REPLAYED if random.random() < 0.7) or REPLAYED
        rate = random.choice((None, None, "1/s", "7/m", "400/s"))
        found.insert(at, Action(kind="replay", after_ms=after, pick=pick, statuses=statuses, rate=rate))
    return tuple(found)


def other_rules(config: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """The configuration of a function with other numbers in its rules for starts."""
    found: dict[str, Any] = {**config, "name": f"version {random.randrange(1_000)}"}
    if "throttle" in found:
        found["throttle"] = found["throttle"] | {"limit": random.choice((1, 3, 20)), "burst": random.choice((0, 2))}
    if "rateLimit" in found:
        found["rateLimit"] = found["rateLimit"] | {"limit": random.choice((1, 3, 30))}
    if "debounce" in found:
        key = {name: found["debounce"][name] for name in ("key",) if name in found["debounce"]}
        found["debounce"] = {"period": random.choice(("2s", "30s")), **key}
    if "batchEvents" in found:
        size, timeout = random.choice((2, 4)), random.choice(("2s", "1m"))
        found["batchEvents"] = found["batchEvents"] | {"maxSize": size, "timeout": timeout}
    if "singleton" in found:
        found["singleton"] = found["singleton"] | {"mode": random.choice(("skip", "cancel"))}
    return found


def other_limits(config: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """The configuration of a function with other limits of what goes on at one moment. Their keys stay, so that its
    runs stay where they are (ADR 0036)."""
    return _with_limits(config, lambda limits: [limit | {"limit": random.choice((1, 2, 3, 6))} for limit in limits])


def fewer_limits(config: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """The configuration of a function without one of the limits that it has for itself. Only for a store with one
    shard: with several its new runs may be elsewhere than those that there are (ADR 0036)."""

    def fewer(limits: list[dict[str, Any]]) -> list[dict[str, Any]]:
        own = [limit for limit in limits if "scope" not in limit]
        gone = random.choice(own) if own else None
        return [limit for limit in limits if limit is not gone]

    return _with_limits(config, fewer)


def other_keys(config: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """The configuration of a function some of whose rules count for each key of an event now if they have counted for
    all together, or the other way round. Only for a store with one shard, as before."""

    def turned(rule: dict[str, Any]) -> dict[str, Any]:
        if "scope" in rule or rule.get("key") not in (None, _KEY) or random.random() < 0.3:
            return rule
        return {name: value for name, value in rule.items() if name != "key"} if "key" in rule else rule | {"key": _KEY}

    found = _with_limits(config, lambda limits: [turned(limit) for limit in limits])
    for kind in ("throttle", "rateLimit", "debounce", "batchEvents", "singleton"):
        if kind in found:
            found[kind] = turned(found[kind])
    return found


def _with_limits(
    config: Mapping[str, Any], change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> dict[str, Any]:
    """Each list of limits is changed: that of all, or one of those of steps and one of those of runs."""
    found = {**config}
    limits = found.get("concurrency", [])
    if issubclass(type(limits), dict):
        found["concurrency"] = {kind: change(each) for kind, each in limits.items()}
        empty = not any(found["concurrency"].values())
    else:
        found["concurrency"] = change(limits)
        empty = not found["concurrency"]
    if empty:
        del found["concurrency"]
    return found


def _with_new_limits(random: Random, functions: tuple[Spec, ...], actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """In some worlds a function gets other limits, and perhaps other rules, soon after many events have come for it at
    once. As with deployments everybody knows it."""
    ruled = [place for place, spec in enumerate(functions) if spec.event is not None and _makes_wait(spec)]
    if not ruled or random.random() >= _LIMITING:
        return actions
    found = [action for action in actions if action.kind != "depose"]
    for _ in range(random.randint(1, 3)):
        place, at = random.choice(ruled), random.randint(0, len(found))
        burst = Action(
            kind="send",
            after_ms=random.choice(_GAPS_MS),
            event=functions[place].event or "",
            key=random.choice(KEYS),
            copies=random.choice((3, 6, 9)),
        )
        gap = random.choice((0, 1, 40, 900, 5_000, 31_000))
        limit = Action(kind="limit", after_ms=gap, pick=(place + random.random()) / len(functions))
        found[at:at] = [burst, limit]
    return tuple(found)


def _makes_wait(spec: Spec) -> bool:
    rules = spec.rules
    return bool(spec.limits() or rules.runs_max or rules.throttle or rules.rate_limit or rules.debounce_ms)


def _with_deployments(random: Random, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """In some worlds the rules of functions change while runs wait. There nobody leads who does not know it: only a
    process that shares its file hears of what another has registered."""
    if random.random() >= _DEPLOYING:
        return actions
    found = [action for action in actions if action.kind != "depose"]
    for _ in range(random.randint(1, 3)):
        deploy = Action(kind="deploy", after_ms=random.choice(_GAPS_MS), pick=random.random())
        found.insert(random.randint(0, len(found)), deploy)
    return tuple(found)


def _with_orders(random: Random, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """In some worlds a person drains or archives, and takes it back or not."""
    found = list(actions)
    for _ in range(random.randint(1, 3) if random.random() < _ORDERING else 0):
        pick, at, kind = random.random(), random.randint(0, len(found)), random.choice(("archive", "drain"))
        target = random.choice(("function", "app", "all")) if kind == "drain" else "function"
        given = Action(kind=kind, after_ms=random.choice(_GAPS_MS), pick=pick, target=target)
        found.insert(at, given)
        if random.random() < 0.6:
            back = msgspec.structs.replace(given, kind=f"un{kind}", after_ms=random.choice(_GAPS_MS))
            found.insert(random.randint(at + 1, len(found)), back)
    return tuple(found)


def _action(random: Random) -> Action:
    after, kind = random.choice(_GAPS_MS), random.random()
    if kind < 0.70:
        return Action(
            kind="send",
            after_ms=after,
            event=random.choice(EVENTS[:3]) if random.random() < 0.7 else random.choice(EVENTS),
            key=random.choice(KEYS),
            id=f"id{random.randrange(3)}" if random.random() < 0.2 else None,
            copies=random.choice((1, 1, 1, 2, 6)),
            delay_ms=random.choice((60_000, 3_600_000)) if random.random() < 0.06 else 0,
        )
    if kind < 0.77:
        return Action(kind="cancel", after_ms=after, pick=random.random())
    if kind < 0.84:
        return Action(kind="crash", after_ms=after, delay_ms=random.choice((0, 10, 5_000, 100_000, 4_000_000)))
    if kind < 0.90:
        return Action(kind="depose", after_ms=after, delay_ms=random.choice((1, 2_000, 40_000, 90_000)))
    return Action(kind="jump", after_ms=after, delay_ms=random.choice((1_500, 31_000, 200_000, 3_600_000, 11_000_000)))
