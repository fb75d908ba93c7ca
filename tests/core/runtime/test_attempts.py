"""How often somebody may try to log in, name by name and all together."""

from __future__ import annotations

from stepwell.limits import LOGIN_FAILURES_MAX, LOGIN_FAILURES_OF_ALL_MAX
from stepwell.server.attempts import Attempt, Attempts

MINUTE = 60_000


def test_a_name_is_closed_for_the_rest_of_a_minute_and_others_are_not():
    attempts = Attempts()
    for number in range(LOGIN_FAILURES_MAX):
        assert isinstance(attempts.begin("ada", 1_000 * number), Attempt)

    assert attempts.begin("ada", 10_000) == 50
    assert isinstance(attempts.begin("bob", 10_000), Attempt)
    assert attempts.begin("ada", MINUTE - 1) == 1
    assert isinstance(attempts.begin("ada", MINUTE), Attempt)


def test_all_names_together_are_closed_too():
    attempts = Attempts()
    for number in range(LOGIN_FAILURES_OF_ALL_MAX):
        assert isinstance(attempts.begin(f"user{number}", 0), Attempt)

    assert attempts.begin("ada", 0) == 60
    assert isinstance(attempts.begin("ada", MINUTE), Attempt)


def test_who_succeeds_has_not_failed():
    attempts = Attempts()
    for _ in range(3 * LOGIN_FAILURES_MAX):
        attempt = attempts.begin("ada", 0)
        assert isinstance(attempt, Attempt)
        attempts.forgive(attempt)
