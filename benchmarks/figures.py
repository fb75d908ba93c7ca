"""Every figure: its unit, its bar, how far it may differ on a database with a past, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import uvloop

from benchmarks import (
    dashboard,
    deep,
    embedded,
    floors,
    orders,
    over_http,
    postgres,
    postgres_steady,
    served,
    virtual,
    waits,
    windows,
)
from benchmarks.embedded import run_all
from benchmarks.peers import PEERS

Found = dict[str, float]

# How much dearer a figure may be in a second measurement of the same thing on a shared machine.
TOLERANCE = 1.35
TOLERANCE_P99 = 2.0


class Figure(NamedTuple):
    """``bar`` is that of synchronous=FULL; ``None`` only shows the figure. ``more`` says that more is better.

    ``tolerance`` is how many times as dear it may be with a past. ``grain`` is what measuring cannot tell from nothing:
    less than that counts as that, where two figures are compared.
    """

    unit: str
    bar: float | None = None
    more: bool = False
    tolerance: float = TOLERANCE
    grain: float = 0.0

    def ratio(self, before: float, after: float) -> float:
        """How many times as dear it has become."""
        before, after = max(before, self.grain), max(after, self.grain)
        cheap, dear = (after, before) if self.more else (before, after)
        return dear / cheap if cheap else float("inf" if dear else 1)

    def sign(self, bar: float) -> str:
        return f"{'>=' if self.more else '<='} {bar:,.10g} {self.unit}"


FIGURES: dict[str, Figure] = {
    "sequential_step_ms": Figure("ms"),  # see ``bar``
    "sqlite_full_commit_ms": Figure("ms"),
    "steps_per_s": Figure("/s", 10_000, more=True),
    "steps_per_s_2kb": Figure("/s", 5_000, more=True),
    "step_ms_with_cpu_hog": Figure("ms", 6),
    "runs_per_s": Figure("/s", more=True),
    "limited_runs_per_s": Figure("/s", more=True),
    "start_ms_p50": Figure("ms", 1),
    "start_ms_p99": Figure("ms", 5, tolerance=TOLERANCE_P99),
    "parallel_200_ms": Figure("ms", 25),
    "kib_per_sleeping_run": Figure("KiB", 1, grain=0.5),
    "step_ms_while_sleeping": Figure("ms"),
    "wake_late_ms_p50": Figure("ms", 100),
    "wake_late_ms_p99": Figure("ms", 250, tolerance=TOLERANCE_P99),
    "events_per_s_1": Figure("/s", 4_000, more=True),
    "events_per_s_100": Figure("/s", 30_000, more=True),
    "http_steps_per_s": Figure("/s", 1_500, more=True),
    "http_server_ms_per_step": Figure("ms", 1),
    "http_app_ms_per_step": Figure("ms"),
    "http_by_step_steps_per_s": Figure("/s", 400, more=True),
    "http_by_step_server_ms_per_step": Figure("ms", 1),
    "http_by_step_app_ms_per_step": Figure("ms"),
    "http_official_steps_per_s": Figure("/s", more=True),  # the SDK's own CPU is its limit: see the next two
    "http_official_server_ms_per_step": Figure("ms", 1),
    "http_official_app_ms_per_step": Figure("ms"),
    "idle_cpu_pct": Figure("%", 1, grain=0.5),  # a tick of the kernel's clock is 0.25 % of 4 s
    "rss_mib": Figure("MiB", 90),
    "ready_s": Figure("s", 0.6),
    "virtual_30_days_ms": Figure("ms", 50),
    "virtual_year_of_hourly_cron_s": Figure("s", 2),
    # With a backlog of a million; ``x`` is how many times as dear as with next to none, measured in turn.
    "deep_start_ms_p99": Figure("ms"),
    "deep_start_p50_ratio": Figure("x", 2),
    "deep_start_p99_ratio": Figure("x", 2),
    "deep_claim_us": Figure("us"),
    "deep_claim_ratio": Figure("x", TOLERANCE),
    "deep_memory_mib": Figure("MiB", 36),  # SQLite's page caches, full; nothing of ours
    "drain_keys_per_s": Figure("/s", more=True),
    "drain_keys_ratio": Figure("x", 0.5, more=True),  # of what nothing limits
    "drain_keys_live_ratio": Figure("x", 0.5, more=True),
    "drain_spread": Figure("x", 2),
    "drain_spread_few_keys": Figure("x", 2),
    # A function with 100,000 runs that wait is resumed, and cancelled: the steps of another meanwhile.
    "resume_s": Figure("s"),
    "resume_step_p50_ratio": Figure("x", 2),
    "resume_step_ms_p99": Figure("ms", 50),
    "cancel_s": Figure("s"),
    "cancel_step_p50_ratio": Figure("x", 2),
    "cancel_step_ms_p99": Figure("ms", 50),
    # An event among 100,000 runs that wait for one, next to 200: by equality, each for another value.
    "event_for_wait_ms_p99": Figure("ms", 2),
    "event_for_wait_cpu_us": Figure("us"),
    "event_for_wait_cpu_ratio": Figure("x", 2),
    "event_for_none_cpu_ratio": Figure("x", 2),
    "waits_memory_mib": Figure("MiB", 36),
    # The CPU of an event among 100,000 keys, next to 10,000: what is more are pages that lie elsewhere.
    **{f"{name}_us": Figure("us") for name in windows.CONTROLS},
    **{f"{name}_keys_ratio": Figure("x", 2.5) for name in windows.CONTROLS},
    "debounced_events_ratio": Figure("x", TOLERANCE),
    # 1,000 keys whose turns come every two seconds, with 100 runs each; ``x`` is the CPU next to a run without a rule.
    "turn_late_ms_p50": Figure("ms", 100),
    "turn_late_ms_p99": Figure("ms", 250),
    "turn_cpu_ratio": Figure("x", 4),
    # On PostgreSQL; only measured if they are asked for by name.
    "postgres_steps_per_s": Figure("/s", more=True),
    "postgres_sqlite_steps_per_s": Figure("/s", more=True),
    "postgres_of_sqlite_ratio": Figure("x", more=True),
    "postgres_steps_per_s_2_replicas": Figure("/s", more=True),
    "postgres_steps_per_s_4_replicas": Figure("/s", more=True),
    "postgres_replica_cpu_us_per_step": Figure("us"),
    "postgres_server_cpu_us_per_step": Figure("us"),
    "postgres_wal_bytes_per_step": Figure("B", 2_000),
    "postgres_syncs_per_step": Figure("", 0.2),
    "postgres_commits_per_step": Figure("", 0.2),
    "postgres_beside_peers_steps_per_s": Figure("/s", more=True),
    **{f"postgres_{peer}_steps_per_s": Figure("/s", more=True) for peer in PEERS},
    "postgres_peer_ratio": Figure("x", 5, more=True),  # of the better peer
    "postgres_beside_peers_steps_per_s_4_replicas": Figure("/s", more=True),
    **{f"postgres_{peer}_steps_per_s_4_processes": Figure("/s", more=True) for peer in PEERS},
    "postgres_peer_ratio_4_processes": Figure("x", 5, more=True),
    # Four replicas on two processors, 300 events a second one by one.
    "postgres_steady_event_ms_p50": Figure("ms"),
    "postgres_steady_run_ms_p50": Figure("ms", 200),
    "postgres_steady_run_ms_p99": Figure("ms"),
    "postgres_steady_cpu_us_per_step": Figure("us"),
    "postgres_commit_ms": Figure("ms"),
    "postgres_sequential_step_ms": Figure("ms"),
    "postgres_step_over_commit": Figure("x", 5),
    "postgres_event_ms_p50": Figure("ms"),
    "postgres_events_per_s": Figure("/s", more=True),
    # With 1,000,000 finished runs and as many blocked items next to none; a claim of one next to a share of a hundred.
    "postgres_start_past_ratio": Figure("x", 1.5),
    "postgres_claim_past_ratio": Figure("x", 1.5),
    "postgres_claim_us": Figure("us"),
    "postgres_claim_batch_ratio": Figure("x", 5, more=True),
    # After 1,000,000 runs of which 50,000 are kept, next to after 100,000; ``round`` is one of retention.
    "postgres_kept_size_ratio": Figure("x", 1.2),
    "postgres_kept_size_mib": Figure("MiB"),
    "postgres_kept_round_ms_p99": Figure("ms"),
    "postgres_idle_queries_per_s": Figure("/s", 2),
    "postgres_wake_late_ms_p50": Figure("ms"),
    "postgres_wake_late_ms_p99": Figure("ms", 1_000),
    # In a browser, with 1,000,000 finished runs; only measured if it is asked for by name.
    "dashboard_lists_ms_p50": Figure("ms"),
    "dashboard_lists_ms_p99": Figure("ms", 50),
    "dashboard_first_load_ms": Figure("ms", 300),
    "dashboard_first_load_kb": Figure("kB", 150),
    "dashboard_update_ms_p50": Figure("ms"),
    "dashboard_update_ms_p99": Figure("ms", 300),
    "dashboard_trace_ms": Figure("ms", 1_000),
    "dashboard_scroll_frame_ms_p95": Figure("ms", 50),
    # On PostgreSQL; ``queue`` is that page alone, with 1,000,000 runs that wait behind 10,000 keys.
    "dashboard_postgres_lists_ms_p50": Figure("ms"),
    "dashboard_postgres_lists_ms_p99": Figure("ms", 50),
    "dashboard_postgres_queue_ms_p50": Figure("ms"),
    "dashboard_50_open_ratio": Figure("x", 0.9, more=True),
    "fsync_ms": Figure("ms"),
    "asyncio_switch_us": Figure("us"),
    "bare_http_ms": Figure("ms"),
}
_STEP_OVER_FLOOR_MS = 0.25


def bar(name: str, found: Found) -> float | None:
    """The bar of a figure; that of the sequential step stands on the floor that was measured beside it."""
    if name == "sequential_step_ms":
        return found["sqlite_full_commit_ms"] + _STEP_OVER_FLOOR_MS
    return FIGURES[name].bar


class Setting(NamedTuple):
    """``path`` is a database to measure on instead of a new one."""

    quick: bool
    path: str | None = None

    def on_engine(self, run: Callable[[embedded.Bench], Any]) -> Any:
        return uvloop.run(run_all(run, self.path))


def _sequential(setting: Setting) -> Found:
    # The floor is measured before and after, because the machine's pace drifts.
    floor = floors.commit_ms()
    step = setting.on_engine(lambda b: embedded.sequential(b, runs=4 if setting.quick else 10))["p50"]
    return {"sequential_step_ms": step, "sqlite_full_commit_ms": (floor + floors.commit_ms()) / 2}


def _five(setting: Setting) -> Found:
    runs = [setting.on_engine(embedded.five) for _ in range(1 if setting.quick else 3)]
    usual = sorted(runs, key=lambda run: run["steps_per_s"])[len(runs) // 2]
    large = setting.on_engine(lambda b: embedded.five(b, large=True))
    return {
        "steps_per_s": usual["steps_per_s"],
        "runs_per_s": usual["runs_per_s"],
        "steps_per_s_2kb": large["steps_per_s"],
    }


def _starts(setting: Setting) -> Found:
    start = setting.on_engine(embedded.starts)
    return {"start_ms_p50": start["p50"], "start_ms_p99": start["p99"]}


def _sleepers(setting: Setting) -> Found:
    sleeping = setting.on_engine(lambda b: embedded.sleepers(b, 4000 if setting.quick else 10_000))
    return {
        "kib_per_sleeping_run": sleeping["kib_per_sleeping_run"],
        "step_ms_while_sleeping": sleeping["step_ms_meanwhile"],
    }


def _wakeups(setting: Setting) -> Found:
    wake = setting.on_engine(embedded.wakeups)
    return {"wake_late_ms_p50": wake["p50"], "wake_late_ms_p99": wake["p99"]}


def _events(setting: Setting) -> Found:
    seconds = 3.0 if setting.quick else 8.0
    return {f"events_per_s_{batch}": served.events(batch, seconds, setting.path)["events_per_s"] for batch in (1, 100)}


def _idle(setting: Setting) -> Found:
    idle = served.idle(4.0 if setting.quick else 20.0, setting.path)
    return {"idle_cpu_pct": idle["cpu_pct"], "rss_mib": idle["rss_mib"]}


class Group(NamedTuple):
    """Figures that are measured together. ``past``: on a database with a past, too. ``named``: only if somebody names
    one of them, because it takes minutes or needs what may not be there."""

    names: tuple[str, ...]
    measure: Callable[[Setting], Found]
    past: bool = True
    named: bool = False


def _over_http(sdk: str, prefix: str) -> Group:
    """Runs in an app that is called over HTTP: how many steps, and the CPU of both processes for each."""
    names = tuple(f"{prefix}_{name}" for name in ("steps_per_s", "server_ms_per_step", "app_ms_per_step"))

    def measure(setting: Setting) -> Found:
        share = over_http.SHARE[sdk] / (5 if setting.quick else 1)
        return dict(zip(names, over_http.measure(sdk, round(over_http.RUNS * share), setting.path), strict=True))

    return Group(names, measure)


def _apart(names: tuple[str, ...], measure: Callable[[bool], Found], *, named: bool = False) -> Group:
    """Figures that bring a database of their own, with all that it is to have."""
    return Group(names, lambda setting: measure(setting.quick), past=False, named=named)


GROUPS: tuple[Group, ...] = (
    Group(("sequential_step_ms", "sqlite_full_commit_ms"), _sequential),
    Group(("steps_per_s", "runs_per_s", "steps_per_s_2kb"), _five),
    Group(("step_ms_with_cpu_hog",), lambda s: {"step_ms_with_cpu_hog": s.on_engine(embedded.with_hog)}),
    Group(("limited_runs_per_s",), lambda s: {"limited_runs_per_s": s.on_engine(embedded.limited)}),
    Group(("start_ms_p50", "start_ms_p99"), _starts),
    Group(("parallel_200_ms",), lambda s: {"parallel_200_ms": s.on_engine(embedded.wide)}),
    Group(("wake_late_ms_p50", "wake_late_ms_p99"), _wakeups),
    Group(("events_per_s_1", "events_per_s_100"), _events),
    _over_http("own", "http"),
    _over_http("by-step", "http_by_step"),
    _over_http("official", "http_official"),
    Group(("idle_cpu_pct", "rss_mib"), _idle),
    Group(("ready_s",), lambda s: {"ready_s": served.ready_s(s.path)}),
    # Near the end, because these runs stay in the database: they sleep for an hour.
    Group(("kib_per_sleeping_run", "step_ms_while_sleeping"), _sleepers),
    Group(("virtual_30_days_ms",), lambda s: {"virtual_30_days_ms": virtual.month_ms()}, past=False),
    Group(
        ("virtual_year_of_hourly_cron_s",), lambda s: {"virtual_year_of_hourly_cron_s": virtual.year_s()}, past=False
    ),
    _apart(deep.BLOCKED, deep.blocked),
    _apart(deep.DRAINED, deep.drained),
    _apart(orders.ORDERED, orders.ordered),
    _apart(waits.WAITING, waits.waiting),
    _apart(windows.WINDOWS, windows.windows),
    _apart(windows.TURNS, windows.turns),
    _apart(dashboard.LOOKED_AT, dashboard.looked_at, named=True),
    _apart(dashboard.ON_POSTGRES, dashboard.looked_at_on_postgres, named=True),
    _apart(dashboard.OPEN, dashboard.open_pages, named=True),
    _apart(postgres.LOAD, postgres.load, named=True),
    _apart(postgres_steady.STEADY, postgres_steady.steady, named=True),
    _apart(postgres.ALONE, postgres.alone, named=True),
    _apart(postgres.PAST, postgres.past, named=True),
    _apart(postgres.KEPT, postgres.kept, named=True),
    _apart(postgres.ASLEEP, postgres.asleep, named=True),
    _apart(postgres.PEERS, postgres.beside_peers, named=True),
    Group(("fsync_ms",), lambda s: {"fsync_ms": floors.fsync_ms()}, past=False),
    Group(("asyncio_switch_us",), lambda s: {"asyncio_switch_us": floors.switch_us()}, past=False),
    Group(("bare_http_ms",), lambda s: {"bare_http_ms": served.bare_round_trip_ms()}, past=False),
)
_FLOORS = ("sqlite_full_commit_ms",)  # of the machine: no past of ours can change it


def compared(group: Group) -> tuple[str, ...]:
    """Which of its figures are compared with those of a database with a past."""
    return tuple(name for name in group.names if name not in _FLOORS) if group.past else ()
