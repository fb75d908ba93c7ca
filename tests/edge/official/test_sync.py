"""What official SDKs say of themselves and their functions, and what of that is taken. Numbers are of protocol §14."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from stepwell.flow import BatchEvents, Concurrency, Debounce, Idempotency, Priority, RateLimit, Singleton, Throttle
from stepwell.model.function import Control, Function
from stepwell.model.trigger import CancelOn, CronTrigger, EventTrigger
from stepwell.protocol.config import parse_function, warnings
from stepwell.protocol.signing import HEADER, sign, signing_key
from tests.edge.conftest import PATIENCE_S, Dev, Reply, eventually
from tests.edge.official.conftest import HERE, NODE, Served
from tests.edge.served_here import free_port

pytestmark = pytest.mark.slow

KEY = "signkey-test-" + "0123456789abcdef" * 4
PYTHON = [pytest.param("python", marks=pytest.mark.sdk("python"))]
JAVASCRIPT = [pytest.param(f"javascript-{n}", marks=pytest.mark.sdk(f"javascript-{n}")) for n in (3, 4)]
sdks = pytest.mark.parametrize("sdk", PYTHON + JAVASCRIPT)


def command(sdk: str, port: int) -> list[str]:
    if sdk == "python":
        return [sys.executable, "-m", "tests.edge.official.options_app", str(port)]
    return [str(NODE), str(HERE / "options_app.mjs"), sdk.replace("javascript-", "v"), str(port)]


class Options(NamedTuple):
    """A server, and apps with one option each. Each is synced when it is asked for."""

    sdk: str
    dev: Dev
    app: Served

    def put(self, name: str) -> Reply:
        return ask(self.app.port, "PUT", f"/api/{name}")

    def function(self, name: str) -> Function:
        """What the server knows of the function with this option."""
        assert self.put(name).status == 200
        config = self.dev.get(f"/v2/functions/opt-{name}-f")["configuration"]
        assert warnings(config) == []
        return parse_function(config, f"opt-{name}")


def ask(port: int, method: str, path: str, **headers: str) -> Reply:
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@pytest.fixture(scope="module", params=PYTHON + JAVASCRIPT)
def options(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Options]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        dev = Dev(folder, "--no-discovery", "--no-poll", target=None)
        stack.callback(dev.close)
        eventually(lambda: dev.http("GET", "/health").status == 200)
        port = free_port()
        app = Served(folder, command(request.param, port), dev.url, port)
        stack.callback(app.close)
        yield Options(request.param, dev, app)


# Options ------------------------------------------------------------------------------------------------------------

MINUTE_MS = 60_000
KEYED = "event.data.key"


@pytest.mark.parametrize(("option", "retries"), [("plain", 4), ("no-retries", 0), ("retries", 20)])
def test_22_retries_are_those_that_the_sdk_sends(options: Options, option: str, retries: int) -> None:
    if option == "plain":
        assert ask(options.app.port, "PUT", "/api/inngest").status == 200
        config = options.dev.get("/v2/functions/opt-plain-f")["configuration"]
        assert parse_function(config, "opt-plain").retries == retries
    else:
        assert options.function(option).retries == retries


def test_every_option_that_there_is_is_read(options: Options) -> None:
    jitter = None if options.sdk == "javascript-3" else 30_000

    assert options.function("name").name == "With a name"
    (cron,) = options.function("cron").triggers
    assert isinstance(cron, CronTrigger)
    assert (cron.cron, cron.jitter_ms or None) == ("TZ=Europe/Paris 0 9 * * 1", jitter)
    assert options.function("triggers").triggers == (
        EventTrigger("opt/go"),
        EventTrigger("opt/*", "event.data.n > 1"),
    )
    condition = "event.data.id == async.data.id"
    assert options.function("cancel").cancels == (CancelOn("opt/stop", condition, MINUTE_MS, None),)
    limit = Concurrency(limit=3, key="event.data.user", scope="env")
    assert options.function("concurrency").controls == (limit,)
    assert options.function("idempotency").controls == (Idempotency("event.data.id"),)
    timeouts = options.function("timeouts")
    assert (timeouts.start_timeout_ms, timeouts.finish_timeout_ms) == (MINUTE_MS, 2 * MINUTE_MS)
    options.function("on-failure")
    handler = options.dev.get("/v2/functions/opt-on-failure-f-failure")["configuration"]
    assert handler["triggers"] == [
        {"event": "inngest/function.failed", "expression": "event.data.function_id == 'opt-on-failure-f'"}
    ]


def test_23_a_limit_may_be_written_in_each_form_that_the_sdk_has(options: Options) -> None:
    keyed = Concurrency(limit=3, key="event.data.user", scope="env")
    forms = {"concurrency": keyed}
    if options.sdk != "python":
        forms |= {"concurrency-number": Concurrency(limit=3), "concurrency-object": Concurrency(limit=3)}

    assert {form: options.function(form).controls for form in forms} == {name: (it,) for name, it in forms.items()}


@pytest.mark.parametrize("options", JAVASCRIPT, indirect=True)
def test_options_that_only_javascript_has_are_read(options: Options) -> None:
    match = CancelOn("opt/stop", "event.data.id == async.data.id", None, None)

    assert options.function("cancel-match").cancels == (match,)
    assert [options.function(name).controls for name in ("checkpointing", "parallelism")] == [(), ()]  # its own affair


@pytest.mark.parametrize(
    ("option", "control"),
    [
        ("batch", BatchEvents(max_size=5, timeout="1m")),
        ("rate-limit", RateLimit(limit=1, period="1m")),
        ("throttle", Throttle(limit=1, period="1m")),
        ("debounce", Debounce(period="1m")),
        ("priority", Priority(run="event.data.priority")),
        ("singleton", Singleton(mode="skip")),
    ],
)
def test_a_rule_for_starts_is_read(options: Options, option: str, control: Control) -> None:
    if isinstance(control, Throttle) and options.sdk != "python":
        control = structs.replace(control, burst=0)  # which Python always sends as 1, and JavaScript leaves out

    assert options.function(option).controls == (control,)


@pytest.mark.parametrize(
    ("option", "controls"),
    [
        ("concurrency-two", (Concurrency(limit=9), Concurrency(limit=1, key=KEYED))),
        ("batch-whole", (BatchEvents(max_size=5, timeout="1m", key=KEYED, if_="event.data.n > 1"),)),
        ("rate-limit-whole", (RateLimit(limit=3, period="1m", key=KEYED),)),
        ("throttle-whole", (Throttle(limit=3, period="1m", burst=4, key=KEYED),)),
        ("debounce-whole", (Debounce(period="1m", timeout="2m", key=KEYED),)),
        ("singleton-whole", (Singleton(mode="cancel", key=KEYED),)),
    ],
)
def test_a_rule_is_read_with_all_that_can_be_said_of_it(
    options: Options, option: str, controls: tuple[Control, ...]
) -> None:
    assert options.function(option).controls == controls


@pytest.mark.feature("F95")
@pytest.mark.parametrize("options", JAVASCRIPT, indirect=True)
def test_an_option_that_nobody_knows_is_reported(options: Options) -> None:
    """The Python SDK sends none: it refuses them, or leaves them out."""
    assert options.put("unknown").status == 200

    said = "the option 'throttle.brust' is unknown and has no effect"
    options.dev.said(said)
    assert warnings(options.dev.get("/v2/functions/opt-unknown-f")["configuration"]) == [said]


# Introspection and discovery ----------------------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """An app without a server."""
    served: list[Served] = []

    def begin(sdk: str, **variables: str) -> Served:
        port = free_port()
        served.append(Served(tmp_path, command(sdk, port), "", port, variables))
        return served[-1]

    yield begin
    for each in served:
        each.close()


@sdks
def test_29_what_an_app_says_of_itself_can_be_read(alone: Callable[..., Served], sdk: str) -> None:
    production = alone(sdk, INNGEST_SIGNING_KEY=KEY, INNGEST_DEV="0", INNGEST_EVENT_KEY="an-event-key")
    key = signing_key(KEY)

    stranger = ask(production.port, "GET", "/api/inngest", X_Inngest_Server_Kind="cloud")
    now = int(time.time())
    signed = {HEADER.replace("-", "_"): sign(key, b"", now)}
    known = ask(production.port, "GET", "/api/inngest", X_Inngest_Server_Kind="cloud", **signed)

    assert (stranger.status, stranger.json) == (401, {"message": "Unauthorized"})
    assert known.status == 200
    said: dict[str, Any] = known.json
    assert (said["schema_version"], said["mode"], said["authentication_succeeded"]) == ("2024-05-24", "cloud", True)
    assert (said["app_id"], said["function_count"]) == ("opt-plain", 1)
    assert key.bearer.startswith(said["signing_key_hash"])


@sdks
def test_29_in_development_anybody_may_ask(alone: Callable[..., Served], sdk: str) -> None:
    app = alone(sdk, INNGEST_DEV="1")

    reply = ask(app.port, "GET", "/api/inngest")

    assert (reply.status, reply.json["mode"], reply.json["function_count"]) == (200, "dev", 1)
    assert reply.json["schema_version"] == "2024-05-24"
    assert "x-inngest-sdk" in reply.headers
