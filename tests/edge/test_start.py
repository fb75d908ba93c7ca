"""``stepwell start``: who may talk to a production server, and whom it talks to. Numbers are those of protocol §14."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stepwell.protocol.signing import HEADER, SigningKey, sign, signing_key
from tests.edge.conftest import PATIENCE_S, Dev, Reply, command, eventually
from tests.edge.official.conftest import HERE, NODE, Served
from tests.edge.served_here import App, Asked, free_port, serving

pytestmark = pytest.mark.slow

NEW = "signkey-prod-" + "0123456789abcdef" * 4
OLD = "signkey-prod-" + "fedcba9876543210" * 4
EVENT_KEY = "evtkey-prod-for-the-tests-of-start"
NEW_KEY, OLD_KEY = signing_key(NEW), signing_key(OLD)


class Start(Dev):
    """A ``stepwell start`` that runs, and is asked by somebody who has its keys."""

    command = "start"
    event_key = EVENT_KEY

    def __init__(self, folder: Path, *options: str, variables: Mapping[str, str] | None = None) -> None:
        keys = {"INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": EVENT_KEY}
        super().__init__(folder, *options, target=None, variables=keys if variables is None else variables)

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        headers.setdefault("authorization", f"Bearer {NEW_KEY.bearer}")
        return super().http(method, path, body, **headers)

    def stranger(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """As somebody who has none."""
        return super().http(method, path, body, **headers)

    def wait_for(self, app: App) -> None:
        """Until the app that was named with -u is known."""
        eventually(lambda: any(each["id"] == app.app_id for each in self.get("/v2/apps")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """For tests that do not disturb one another."""
    running = Start(tmp_path_factory.mktemp("start"), "--allow-host", "stepwell.example")
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Start]]:
    running: list[Start] = []

    def begin(*options: str, variables: Mapping[str, str] | None = None) -> Start:
        running.append(Start(tmp_path, *options, variables=variables))
        return running[-1]

    yield begin
    for each in running:
        each.close()


@pytest.fixture
def app() -> Iterator[App]:
    with serving(App(NEW_KEY)) as app:
        yield app


def attached(start: Callable[..., Start], app: App, *options: str, **more: Any) -> Start:
    """A server that has synced the app."""
    server = start("--allow-private", "--retry-interval", "100ms", "-u", app.url, *options, **more)
    server.wait_for(app)
    return server


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "there is no signing key"),
        ({"INNGEST_SIGNING_KEY": NEW}, "there is no event key"),
        ({"INNGEST_EVENT_KEY": EVENT_KEY}, "there is no signing key"),
        ({"INNGEST_SIGNING_KEY": "", "INNGEST_EVENT_KEY": EVENT_KEY}, "there is no signing key"),
        ({"INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": "  "}, "there is no event key"),
        ({"INNGEST_SIGNING_KEY_FALLBACK": NEW, "INNGEST_EVENT_KEY": EVENT_KEY}, "there is no signing key"),
        ({"INNGEST_SIGNING_KEY": "signkey-prod-xyz", "INNGEST_EVENT_KEY": EVENT_KEY}, "a signing key is not one"),
        ({"INNGEST_SIGNING_KEY": "signkey-prod-0011", "INNGEST_EVENT_KEY": EVENT_KEY}, "a signing key has 16 bits"),
        ({"INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": "short"}, "an event key is not one"),
        ({"INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": "with/slashes/in/it"}, "an event key is not one"),
        ({"INNGEST_DEV": "1"}, "there is no signing key"),
    ],
)
def test_it_does_not_start_without_keys(start: Callable[..., Start], variables: dict[str, str], told: str) -> None:
    """Invariants S1, S7: unset never means open, and no variable makes it a server for development."""
    server = start(variables=variables)

    assert server.exit_code() == 1
    assert told in server.output
    assert "http://" not in server.output


def test_the_keys_that_it_makes_are_good_ones(start: Callable[..., Start], tmp_path: Path) -> None:
    made = command("keys", "--env", "test", cwd=tmp_path)
    variables = dict(line.split("=") for line in made.out.splitlines())

    server = start(variables=variables)

    assert re.fullmatch(r"signkey-test-[0-9a-f]{64}", variables["INNGEST_SIGNING_KEY"])
    assert server.stranger("POST", f"/e/{variables['INNGEST_EVENT_KEY']}", {"name": "a/b"}).status == 200
    assert made.out != command("keys", "--env", "test", cwd=tmp_path).out


def test_flags_go_before_the_environment_and_that_before_the_file(start: Callable[..., Start], tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text(
        f'signing-key = "{OLD}"\nevent-key = ["{EVENT_KEY}", "{EVENT_KEY}-2"]\ndb = "file.db"\nmax-event-bytes = 100\n'
    )

    server = start(
        *("--config", "stepwell.toml", "--db", "flag.db"),
        variables={"STEPWELL_SIGNING_KEY": NEW, "STEPWELL_DB": "variable.db"},
    )

    assert server.http("GET", "/v2/runs").status == 200
    assert (tmp_path / "flag.db").exists() and not (tmp_path / "variable.db").exists()
    assert server.stranger("POST", f"/e/{EVENT_KEY}-2", {"name": "a/b"}).status == 200
    assert server.stranger("POST", f"/e/{EVENT_KEY}-2", {"name": "a/b", "data": {"x": "y" * 100}}).status == 400


def test_a_setting_that_nobody_knows_keeps_it_from_starting(start: Callable[..., Start], tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text("prot = 1\n")

    server = start("--config", "stepwell.toml")

    assert server.exit_code() == 1
    assert "did you mean port?" in server.output


def test_no_key_is_told_to_anybody(start: Callable[..., Start], app: App, tmp_path: Path) -> None:
    """Invariants S34."""
    server = start(
        *("--signing-key", NEW, f"--signing-key-fallback={OLD}", "--event-key", EVENT_KEY),
        *("--allow-private", "-u", app.url, "--json-logs"),
        variables={},
    )
    server.wait_for(app)
    run = server.ended(server.start("here/go"))
    asks = [("GET", "/v2/runs"), ("GET", "/dev"), ("POST", "/e/wrong"), ("POST", "/fn/register")]
    said = [server.stranger(method, path) for method, path in asks]
    said += [server.http("GET", path) for path in ("/health", "/v2/health", f"/v2/runs/{run['id']}/trace", "/v2/apps")]
    said.append(server.http("POST", "/fn/register", b"{"))
    process = Path(f"/proc/{server.process.pid}/cmdline")
    arguments = process.read_bytes() if process.exists() else b""
    server.signal(signal.SIGTERM)
    server.exit_code()

    written = [file.read_bytes() for file in tmp_path.iterdir()]
    told = b"\n".join([*(reply.text for reply in said), arguments, server.output.encode(), *written])
    for secret in (NEW, NEW_KEY.text, NEW_KEY.bearer, OLD, OLD_KEY.text, OLD_KEY.bearer, EVENT_KEY):
        assert secret.encode() not in told


# Who asks -----------------------------------------------------------------------------------------------------------

READ = ("/health", "/dev", "/v1/events", "/v2/runs", "/v2/runs/x", "/nothing", "/e/", "/e/x")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in READ),
        *(("POST", path) for path in ("/e/x", f"/e/{EVENT_KEY}", "/fn/register", "/v0/connect/start", "/health")),
        *(("OPTIONS", path) for path in ("/e/x", "/v2/runs")),
        ("DELETE", "/fn/remove"),
    ],
)
def test_01_all_answers_say_what_kind_of_server_this_is(server: Start, dev: Dev, method: str, path: str) -> None:
    for reply in (server.http(method, path), server.stranger(method, path), server.stranger(method, path, host="x.y")):
        assert reply.headers["x-inngest-server-kind"] == "cloud"
    assert dev.http(method, path).headers["x-inngest-server-kind"] == "dev"


def test_01_so_does_the_answer_to_what_is_no_request(server: Start) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"NONSENSE\r\n\r\n")
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400") and b"x-inngest-server-kind: cloud" in answer.lower()


def test_06_every_form_of_the_key_is_accepted(start: Callable[..., Start]) -> None:
    server = start("--signing-key-fallback", OLD)

    for key in (NEW_KEY, OLD_KEY):
        for form in ("{}", "signkey-test-{}", "signkey-prod-{}", "signkey-branch-{}"):
            for text in (key.bearer, key.text):
                for scheme in ("Bearer", "bearer", "BEARER"):
                    reply = server.http("GET", "/v1/events", authorization=f"{scheme} {form.format(text)}")
                    assert reply.status == 200


WRONG = [
    *("", "Bearer", "Bearer ", "Bearer undefined", "Bearer null", "Bearer signkey-prod-", f"Basic {NEW_KEY.bearer}"),
    *(f"Bearer {OLD}", f"Bearer {NEW_KEY.bearer}0", f"Bearer {NEW_KEY.bearer[:-1]}", NEW, f"Bearer {EVENT_KEY}"),
    *(f"Bearer Bearer {NEW}", "Bearer \u00e9", f"Bearer {NEW_KEY.bearer},x"),
]
CLOSED = [
    *(("POST", path) for path in ("/fn/register", "/v0/connect/start", "/v2/events", "/invoke/x-f", "/v1/signals")),
    *(("GET", path) for path in ("/v0/runs/x/actions", "/v0/runs/x/batch", "/v1/events", "/v1/runs/x", "/v2/runs")),
    *(
        ("GET", path)
        for path in ("/api/v2/runs", "/v2/health", "/", "/health/", "/healthy", "/e", "/HEALTH", "/nothing")
    ),
    *(("DELETE", path) for path in ("/fn/remove?url=x", "/v1/runs/x")),
    ("PUT", "/fn/register"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_07_nothing_is_answered_to_whoever_has_no_key(server: Start, method: str, path: str) -> None:
    for reply in [server.stranger(method, path), *(server.http(method, path, authorization=text) for text in WRONG)]:
        assert reply.status == 401
        assert reply.headers["content-type"] == "application/json"
        if "v2" in path:
            assert reply.json["errors"][0]["code"] == "unauthorized"
        else:
            assert reply.json["status"] == 401 and reply.json["error"]


@pytest.mark.parametrize("token", WRONG)
def test_08_a_development_server_ignores_tokens(dev: Dev, token: str) -> None:
    assert dev.http("GET", "/v1/events", authorization=token).status == 200
    assert dev.http("POST", "/fn/register", b"{", authorization=token).status == 400


@pytest.mark.parametrize(
    "key", ["x", "NO_EVENT_KEY_SET", EVENT_KEY[:-1], f"{EVENT_KEY}x", NEW_KEY.bearer, "%00", "%ff"]
)
def test_10_an_event_key_that_nobody_gave_out_is_refused(server: Start, dev: Dev, key: str) -> None:
    reply = server.http("POST", f"/e/{key}", {"name": "a/b"})

    assert (reply.status, reply.json) == (401, {"error": "Event key not found", "status": 401, "ids": []})
    assert reply.headers["access-control-allow-origin"] == "*"
    assert dev.http("POST", f"/e/{key}", {"name": "a/b"}).status == 200


def test_10_an_event_key_is_all_that_sending_needs(server: Start) -> None:
    reply = server.stranger("POST", f"/e/{EVENT_KEY}", {"name": "a/b"})

    assert (reply.status, reply.json["status"], len(reply.json["ids"])) == (200, 200, 1)


@pytest.mark.parametrize("origin", ["https://shop.example", "null", "http://localhost:3000"])
def test_11_a_page_of_any_origin_may_send_events_and_nothing_else(server: Start, origin: str) -> None:
    asked = {"origin": origin, "access_control_request_method": "POST", "access_control_request_headers": "x-a"}

    preflight = server.stranger("OPTIONS", "/e/x", **asked)
    closed = [server.stranger("OPTIONS", path, **asked) for path in ("/v2/runs", "/fn/register", "/health")]
    read = server.http("GET", "/v2/runs", origin=origin)

    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "*"
    allowed = preflight.headers["access-control-allow-methods"].split(", ")
    assert allowed == ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
    assert [name for reply in [*closed, read] for name in reply.headers if name.startswith("access-control")] == []


def test_13_only_a_development_server_can_be_found(server: Start, dev: Dev) -> None:
    for reply in (server.stranger("GET", "/dev"), server.http("GET", "/dev")):
        assert (reply.status, reply.text) == (404, b"")
    assert dev.http("GET", "/dev").json["version"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "stepwell.example"])
def test_it_is_known_by_its_own_names_and_no_other(server: Start, host: str) -> None:
    """Invariants S10."""
    assert server.http("GET", "/v2/runs", host=host).status == 200
    assert server.http("GET", "/v2/runs", host=f"evil.{host}").status == 403


def test_20_an_app_that_expects_another_kind_of_server_is_told_so(server: Start, dev: Dev) -> None:
    expected = "x_inngest_expected_server_kind"
    registration = App().registration()
    wrong = server.http("POST", "/fn/register", registration, **{expected: "dev"})
    not_here = dev.http("POST", "/fn/register", registration, **{expected: "cloud"})

    for reply in (wrong, not_here):
        assert reply.status == 400
        assert reply.json["status"] == 400 and "expects a server of kind" in reply.json["error"]
    assert server.http("GET", "/v2/runs", **{expected: "dev"}).status == 200


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

    assert app.registered is not None and app.registered[0] == 200
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


# The process --------------------------------------------------------------------------------------------------------


def test_a_stop_lets_calls_finish(start: Callable[..., Start], app: App) -> None:
    server = attached(start, app, "--db", "shop.db")

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        server.signal(signal.SIGTERM)
        server.said("SIGTERM: stopping, waiting up to 10s for 1 call")
        return 200, {}, b'"in time"'

    app.answer = answer
    run_id = server.start("here/go")

    assert server.exit_code() == 0
    shown = command("run", run_id, "--db", "shop.db", "--json", cwd=server.folder).json["run"]
    assert (shown["status"], shown["output"]) == ("COMPLETED", "in time")


def test_commands_reach_it_with_the_signing_key(server: Start) -> None:
    shown = server.cli("runs", "--token", NEW)

    assert shown.code == 0, shown.err
    assert "the signing key is missing or wrong" in server.cli("runs").err


def test_commands_show_that_they_have_the_key_without_sending_it(app: App, tmp_path: Path) -> None:
    address = app.url.removesuffix("/api/inngest")

    command("runs", "--url", address, "--token", NEW, cwd=tmp_path)

    assert [asked.headers["authorization"] for asked in app.asked] == [f"Bearer {NEW_KEY.bearer}"]


# The official SDKs --------------------------------------------------------------------------------------------------

PREFIX = {"python": "py", "javascript-3": "js", "javascript-4": "js"}  # of their events
sdks = pytest.mark.parametrize(
    "sdk", [pytest.param(sdk, marks=pytest.mark.sdk(sdk)) for sdk in ("python", "javascript-3", "javascript-4")]
)


class Site(Dev):
    """An app of an official SDK in production, as something that can be asked."""

    def __init__(self, server: Start, folder: Path, keys: Mapping[str, str], sdk: str) -> None:
        at = free_port()
        variables = {
            "INNGEST_DEV": "0",
            "INNGEST_API_BASE_URL": server.url,
            "INNGEST_EVENT_API_BASE_URL": server.url,
            "INNGEST_EVENT_KEY": EVENT_KEY,
            **keys,
        }
        command = [sys.executable, "-m", "tests.edge.official.python_app", "fastapi", str(at)]
        if sdk != "python":
            command = [str(NODE), str(HERE / "javascript_app.mjs"), sdk.replace("javascript-", "v"), str(at)]
        self.served = Served(folder, command, server.url, at, variables)

    @property
    def port(self) -> int:
        return self.served.port

    def close(self) -> None:
        self.served.close()


@pytest.fixture
def official(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def begin(server: Start, sdk: str, **keys: str) -> Site:
        sites.append(Site(server, tmp_path, keys, sdk))
        return sites[-1]

    yield begin
    for site in sites:
        site.close()


@pytest.mark.parametrize(
    "keys",
    [
        {"INNGEST_SIGNING_KEY": NEW},
        {"INNGEST_SIGNING_KEY": OLD},
        {"INNGEST_SIGNING_KEY": OLD, "INNGEST_SIGNING_KEY_FALLBACK": NEW},
    ],
    ids=["new", "old", "both"],
)
@sdks
def test_04_the_official_sdk_runs_in_production(
    start: Callable[..., Start], official: Callable[..., Site], keys: dict[str, str], sdk: str
) -> None:
    """Calls and answers are verified, whichever key it has; it registers, fetches state and sends with its keys."""
    server = start("--allow-private", "--retry-interval", "100ms", "--signing-key-fallback", OLD)
    app = official(server, sdk, **keys)

    assert app.http("PUT", "/api/inngest").status == 200
    steps, large, sends = (server.ended(server.start(f"{PREFIX[sdk]}/{name}")) for name in ("steps", "large", "sends"))

    assert steps["output"] == {"one": {"n": 1}, "two": None, "again": [{"n": 1}, {"n": 1}]}
    assert (large["output"], sends["output"]) == (6_000_000, 2)


@pytest.mark.feature("F95")
@sdks
def test_21_the_official_sdk_is_synced_in_band(
    start: Callable[..., Start], official: Callable[..., Site], sdk: str
) -> None:
    nobody = start("--db", "nobody.db")
    app = official(nobody, sdk, INNGEST_SIGNING_KEY=NEW)

    server = start("--allow-private", "--retry-interval", "100ms", "-u", app.served.url)

    eventually(lambda: server.get("/v2/apps"))
    run = server.ended(server.start(f"{PREFIX[sdk]}/never", n=1))  # without steps: v4 would report them to nobody
    assert run["output"] == {"got": {"n": 1}}
    assert nobody.get("/v2/apps") == []


@sdks
def test_07_the_official_sdk_with_a_wrong_key_is_not_registered(
    start: Callable[..., Start], official: Callable[..., Site], sdk: str
) -> None:
    server = start("--allow-private")

    reply = official(server, sdk, INNGEST_SIGNING_KEY=OLD).http("PUT", "/api/inngest")

    assert b"the signing key is missing or wrong" in reply.text
    assert server.get("/v2/apps") == []
