"""``stepwell start``: whom it asks, and how both sides know each other while keys are changed (protocol §14)."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable

import pytest

from stepwell.protocol.signing import HEADER, SigningKey, sign
from tests.edge.conftest import eventually
from tests.edge.served_here import App, Asked, free_port
from tests.edge.started import NEW_KEY, OLD, OLD_KEY, Start, app, attached, server, start

__all__ = ["app", "server", "start"]

pytestmark = pytest.mark.slow


# Whom it asks -------------------------------------------------------------------------------------------------------


def test_05_calls_are_signed_with_the_present_second(start: Callable[..., Start], app: App) -> None:
    server = attached(start, app)

    run = server.ended(server.start("here/go"))

    assert run["output"] == "done"
    (call,) = app.posts()
    form = re.fullmatch(r"t=(\d+)&s=[0-9a-f]{64}", call.headers[HEADER.lower()])
    assert form is not None and abs(int(form[1]) - time.time()) < 300
    assert call.signed_with(NEW_KEY) == NEW_KEY
    assert call.headers["x-inngest-server-kind"] == "cloud"
    assert "authorization" not in call.headers


def test_09_an_answer_that_is_not_signed_with_our_key_is_none(start: Callable[..., Start], app: App) -> None:
    server = attached(start, app)
    left = iter(
        [
            {HEADER: "t=1700000000&s=" + "0" * 64},
            {HEADER: ""},
            {HEADER: "", "X-Inngest-SDK-Handled": "true"},
            {HEADER: "nonsense", "X-Inngest-No-Retry": "true"},
        ]
    )
    app.answer = lambda asked: (200, next(left, {}), b'"done"')

    run = server.ended(server.start("here/go"))

    assert (run["status"], run["output"]) == ("COMPLETED", "done")
    attempts = server.get(f"/v2/runs/{run['id']}/trace")["attempts"]
    assert [each["error"]["message"] for each in attempts] == ["the app's answer is not signed with our key"] * 4


def test_09_a_signature_that_is_old_may_be_a_copy(start: Callable[..., Start], app: App) -> None:
    """Invariants S4."""
    server = attached(start, app)
    ages = iter([301, -60])

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        app.age_s = next(ages, 0)
        return 200, {}, b'"done"'

    app.answer = answer
    run = server.ended(server.start("here/go"))

    assert (run["output"], len(app.posts())) == ("done", 3)


def test_09_a_streamed_answer_is_signed_inside_or_not_at_all(start: Callable[..., Start], app: App) -> None:
    server = attached(start, app)
    app.signs = lambda: False
    now = int(time.time())
    wrong, right = sign(OLD_KEY, b'"done"', now), sign(NEW_KEY, b'"done"', now)
    left = iter([{HEADER: wrong}, {HEADER.lower(): ""}, {HEADER: right}])

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        headers = {"X-Inngest-SDK": "inngest-js:v4.18.1", **next(left, {})}
        return 201, {}, b"   " + json.dumps({"status": 200, "headers": headers, "body": '"done"'}).encode()

    app.answer = answer

    assert server.ended(server.start("here/go"))["output"] == "done"
    assert len(app.posts()) == 3
    assert server.ended(server.start("here/go"))["output"] == "done"


def test_09_who_refuses_without_a_signature_cannot_end_a_run(start: Callable[..., Start], app: App) -> None:
    server = attached(start, app)
    refusals = iter([401, 403, 404])

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        status = next(refusals, 200)
        app.signs = lambda: status == 200
        return status, {"X-Inngest-No-Retry": "true"}, b'"done"'

    app.answer = answer

    assert server.ended(server.start("here/go"))["output"] == "done"


def test_14_a_sync_says_who_asks_and_for_what(start: Callable[..., Start], app: App) -> None:
    attached(start, app)

    asked = app.puts()[0]

    assert asked.headers["x-inngest-server-kind"] == "cloud"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["x-inngest-sync-kind"] == "in_band"
    assert json.loads(asked.body) == {"url": app.url}
    assert asked.signed_with(NEW_KEY) == NEW_KEY


def test_21_an_app_may_register_by_itself_when_it_is_asked(start: Callable[..., Start], app: App) -> None:
    """Checklist 15 too: while it is asked."""
    app.in_band = False
    app.register_at = free_port()

    server = attached(start, app, "--port", str(app.register_at))

    assert eventually(lambda: app.registered)[0] == 200
    assert server.ended(server.start("here/go"))["output"] == "done"


def test_21_what_an_app_says_of_itself_has_to_be_signed(start: Callable[..., Start], app: App) -> None:
    """Invariants S7."""
    app.signs = lambda: False
    server = start("--allow-private", "-u", app.url)

    server.said("what the app says of itself is not signed with our key")

    assert server.get("/v2/apps") == []


def test_an_app_in_a_private_network_needs_permission(start: Callable[..., Start], app: App) -> None:
    """Invariants S15, S16."""
    server = start("-u", app.url)
    server.said("this machine itself, which this server may not call")

    reply = server.http("POST", "/fn/register", app.registration())

    assert reply.status == 400
    assert "may not call" in reply.json["error"] and "--allow-private" in reply.json["fix"]
    assert app.asked == []
    assert server.get("/v2/apps") == []


def test_an_app_in_a_network_that_is_listed_needs_no_more(start: Callable[..., Start], app: App) -> None:
    server = start("--allow-network", "127.0.0.1/32", "-u", app.url)
    server.wait_for(app)

    assert server.ended(server.start("here/go"))["output"] == "done"


# Keys are changed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [(OLD_KEY,), (NEW_KEY,), (OLD_KEY, NEW_KEY)], ids=["old", "new", "both"])
def test_04_no_call_is_lost_while_keys_are_changed(
    start: Callable[..., Start], app: App, known: tuple[SigningKey, ...]
) -> None:
    """Invariants S6: whichever of the two an app has."""
    app.keys = known
    server = attached(start, app, "--signing-key-fallback", OLD)

    run = server.ended(server.start("here/go"))

    assert run["output"] == "done"
    assert server.get(f"/v2/runs/{run['id']}/trace")["attempts"] == []
    assert server.http("GET", "/v1/events", authorization=f"Bearer {known[0].bearer}").status == 200


def test_04_a_key_that_an_app_has_accepted_is_tried_first(start: Callable[..., Start], app: App) -> None:
    app.keys = (OLD_KEY,)
    server = attached(start, app, "--signing-key-fallback", OLD)

    for key in (OLD_KEY, OLD_KEY, NEW_KEY, NEW_KEY):
        app.keys = (key,)
        assert server.ended(server.start("here/go"))["output"] == "done"

    signed = [call.signed_with(NEW_KEY, OLD_KEY) for call in app.posts()]
    assert signed == [OLD_KEY, OLD_KEY, OLD_KEY, NEW_KEY, NEW_KEY]  # once in vain


def test_04_an_old_key_is_dead_when_it_is_taken_away(start: Callable[..., Start], app: App) -> None:
    app.keys = (OLD_KEY, NEW_KEY)
    first = attached(start, app, "--signing-key-fallback", OLD, "--db", "shop.db")
    first.signal(signal.SIGTERM)
    assert first.exit_code() == 0

    second = start("--allow-private", "--db", "shop.db")

    assert second.http("GET", "/v1/events", authorization=f"Bearer {OLD_KEY.bearer}").status == 401
    assert second.ended(second.start("here/go"))["output"] == "done"
