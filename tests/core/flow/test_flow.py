"""Flow controls: what they accept, the keys they use, what they decide (semantics §3.4, §7.3, §7.6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import ConfigurationError, InvalidExpression
from stepwell.flow import ADMIT, GRANT, HOLD, KEYWORDS, RANK, START, Concurrency, Idempotency, RunConcurrency
from stepwell.flow.verdicts import Accept, Blocked, Go, Skip
from stepwell.model.history import Cell, OutcomeKind

NOW, DAY = 1_700_000_000_000, 86_400_000
FN = "shop-bill"


def env(**data: Any) -> dict[str, object]:
    return {"event": {"id": "e1", "name": "shop/ordered", "data": data, "ts": NOW, "user": {}}}


def test_a_key_may_ask_for_the_time() -> None:
    limit, once = Concurrency(1, key="string(now())"), Idempotency(key="string(now())")

    assert limit.slot(FN, env(), NOW) == limit.slot(FN, env(), NOW) != limit.slot(FN, env(), NOW + DAY)
    assert once.cell(FN, env(), NOW) == once.cell(FN, env(), NOW) != once.cell(FN, env(), NOW + DAY)


# Concurrency ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("used", "verdict"), [(0, Go()), (1, Go()), (2, Blocked()), (3, Blocked())])
def test_a_call_may_go_out_while_a_slot_is_free(used: int, verdict: Go | Blocked) -> None:
    assert Concurrency(2).grant(used) == verdict


def test_a_limit_of_zero_is_no_limit() -> None:
    assert Concurrency(0).slot(FN, env(), NOW) is None
    assert Concurrency(0).grant(1_000_000) == Go()


@pytest.mark.parametrize(
    "options",
    [
        {"limit": -1},
        {"limit": 1.5},
        {"limit": "3"},
        {"limit": True},
        {"limit": 1, "scope": "env"},
        {"limit": 1, "scope": "account"},
        {"limit": 1, "scope": "galaxy", "key": "event.data.x"},
        {"limit": 1, "key": 7},
    ],
)
def test_a_concurrency_that_cannot_work_is_refused_with_what_why_and_fix(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Concurrency(**options)

    assert caught.value.what and caught.value.why and caught.value.fix


@pytest.mark.parametrize("key", ["", "event.data.", "async.data.x", "steps.a", "x" * 5_000])
def test_a_key_that_is_not_an_expression_over_event_is_refused(key: str) -> None:
    with pytest.raises(InvalidExpression):
        Concurrency(1, key=key)
    with pytest.raises(InvalidExpression):
        Idempotency(key)


def test_without_a_key_all_runs_of_a_function_share_its_slots() -> None:
    limit = Concurrency(5)

    assert (
        limit.slot(FN, env(user=1), NOW)
        == limit.slot(FN, env(user=2), NOW)
        != limit.slot("shop-other", env(user=1), NOW)
    )


def test_each_value_of_a_key_has_slots_of_its_own() -> None:
    limit = Concurrency(5, key="event.data.user")

    assert limit.slot(FN, env(user="a"), NOW) == limit.slot(FN, env(user="a"), NOW)
    assert (
        len({limit.slot(FN, env(user=user), NOW) for user in ["a", "b", 1, "1", None, "null", "", False, "false"]}) == 9
    )


@pytest.mark.parametrize("scope", ["env", "account"])
def test_a_wider_scope_is_shared_by_functions_with_the_same_value(scope: str) -> None:
    one, other = Concurrency(5, key="'reports'", scope=scope), Concurrency(2, key="event.data.pool", scope=scope)

    assert one.slot(FN, env(), NOW) == other.slot("crm-sync", env(pool="reports"), NOW)
    assert one.slot(FN, env(), NOW) != Concurrency(5, key="'reports'").slot(FN, env(), NOW)


def test_two_limits_of_one_function_never_mix_values_that_happen_to_be_equal() -> None:
    by_user, by_order = Concurrency(1, key="event.data.user"), Concurrency(1, key="event.data.order")

    assert by_user.slot(FN, env(user=7, order=7), NOW) != by_order.slot(FN, env(user=7, order=7), NOW)


def test_all_events_whose_key_is_missing_or_fails_share_one_slot() -> None:
    limit = Concurrency(1, key="event.data.list[0] + event.data.n")

    failing = env(list=[{}], n=1)
    assert limit.slot(FN, failing, NOW) is not None
    assert limit.slot(FN, failing, NOW) == limit.slot(FN, env(list=[[]], n=2), NOW) == limit.slot(FN, env(), NOW)


# Idempotency ---------------------------------------------------------------------------------------------------------


def admitted(control: Idempotency, stored: Cell | None, run_id: str, now: int) -> Accept | Skip:
    key = control.cell(FN, env(cart="c1"), NOW)
    assert key is not None
    return control.admit(key, stored, run_id, now)


def test_the_first_run_of_a_key_starts_and_is_remembered_for_24_hours() -> None:
    control = Idempotency("event.data.cart")

    verdict = admitted(control, None, "run-1", NOW)

    assert verdict == Accept(Cell(key="idempotency/shop-bill/c1", value="run-1", expires_at=NOW + DAY))


def test_a_second_run_within_24_hours_is_skipped_in_favour_of_the_first() -> None:
    control = Idempotency("event.data.cart")
    first = admitted(control, None, "run-1", NOW)
    assert isinstance(first, Accept)

    second = admitted(control, first.remember, "run-2", NOW + DAY - 1)

    assert isinstance(second, Skip)
    assert (second.kind, second.run_id) == (OutcomeKind.IDEMPOTENT, "run-1")


def test_the_window_is_fixed_and_a_new_run_starts_when_it_is_over() -> None:
    control = Idempotency("event.data.cart")
    first = admitted(control, None, "run-1", NOW)
    assert isinstance(first, Accept)

    later = admitted(control, first.remember, "run-2", NOW + DAY)

    assert isinstance(later, Accept)
    assert later.remember is not None
    assert (later.remember.value, later.remember.expires_at) == ("run-2", NOW + 2 * DAY)


def test_an_event_whose_key_is_literally_false_always_starts_a_run() -> None:
    control = Idempotency("event.data.once ? event.id : false")

    assert control.cell(FN, env(once=False), NOW) is None
    assert control.cell(FN, env(once=True), NOW) is not None


def test_events_without_the_key_share_the_empty_one() -> None:
    control = Idempotency("event.data.cart")

    assert control.cell(FN, env(), NOW) == "idempotency/shop-bill/"
    assert control.cell(FN, env(cart=""), NOW) != control.cell(FN, env(), NOW)


@given(st.text(alphabet="ab/%2F5", max_size=6), st.text(alphabet="ab/%2F5", max_size=6), st.data())
def test_no_two_pairs_of_function_and_key_share_a_cell(function_id: str, cart: str, data: st.DataObject) -> None:
    other = data.draw(st.tuples(st.text(alphabet="ab/%2F5", max_size=6), st.text(alphabet="ab/%2F5", max_size=6)))
    control = Idempotency("event.data.cart")

    same = control.cell(function_id, env(cart=cart), NOW) == control.cell(other[0], env(cart=other[1]), NOW)

    assert same == ((function_id, cart) == other)


# Both ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["a" * 129, "a\x00b", "a\nb", "\ud800", "\u2028", "ä" * 500])
def test_values_that_are_long_or_cannot_be_shown_are_hashed(value: str) -> None:
    slot = Concurrency(1, key="event.data.user").slot(FN, env(user=value), NOW)

    assert slot is not None
    assert "/sha256:" in slot
    assert slot.isascii() and slot.isprintable() and len(slot) < 128
    assert slot == Concurrency(9, key="event.data.user").slot(FN, env(user=value), NOW)


def test_values_people_can_read_stay_readable() -> None:
    slot = Concurrency(1, key="event.data.user").slot(FN, env(user="müller@example.com"), NOW)

    assert slot is not None
    assert slot.endswith("/müller@example.com")


def test_the_tables_hold_every_control_once_under_the_keyword_of_the_wire() -> None:
    assert {keyword: KEYWORDS[keyword].keyword for keyword in KEYWORDS} == {key: key for key in KEYWORDS}
    assert set(KEYWORDS.values()) == {*ADMIT, *START, *GRANT, *RANK} - {RunConcurrency}
    assert set(HOLD) < set(ADMIT)
