"""``stepwell start``: who may talk to a production server, and whom it talks to. Numbers are those of protocol §14."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, command
from tests.edge.served_here import App, Asked
from tests.edge.started import EVENT_KEY, NEW, NEW_KEY, OLD, OLD_KEY, Start, app, attached, server, start

__all__ = ["app", "server", "start"]

pytestmark = pytest.mark.slow


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


@pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does")
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


def test_a_flag_of_the_inngest_server_that_changes_nothing_is_said_to(start: Callable[..., Start]) -> None:
    server = start("--tick", "10")

    assert server.http("GET", "/health").status == 200
    server.said("--tick has no effect: nothing is polled here")


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
