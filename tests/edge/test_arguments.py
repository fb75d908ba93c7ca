"""What others may read of a process: keys, tokens and passwords are not among its arguments (S34)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stepwell.cli.arguments import hidden
from tests.edge.conftest import PATIENCE_S, STEPWELL, Dev
from tests.edge.test_dev import edit

SECRET = "drowssap-drowssap"
KEY = "0123456789abcdef" * 2
DATABASE = f"postgresql://stepwell:{SECRET}@{{}}/shop"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("runs --db shop.db --limit 3", "runs --db shop.db --limit 3"),
        ("import a.gz --store postgresql://u:p@h/d --json", "import a.gz --store *** --json"),
        ("promote a.db --to=postgres://u:p@h/d", "promote a.db --to=***"),
        ("doctor --db postgresql://h/d?user=u&password=p", "doctor --db ***"),
        ("doctor --db postgresql://h/d", "doctor --db postgresql://h/d"),
        ("start --event-key k --signing-key=s", "start --event-key *** --signing-key=***"),
        ("start --token --port 3", "start --token *** 3"),  # what follows is its value, whatever it looks like
        ("send a/b --data {}", "send a/b --data {}"),
    ],
)
def test_secrets_are_shown_as_stars(typed: str, shown: str):
    assert hidden(typed.split()) == shown.split()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts and says nothing, so that whoever asks it is there to be looked at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(PATIENCE_S)
        yield listening


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked at in /proc")
@pytest.mark.parametrize(
    "arguments",
    [
        "migrate --store {1}",
        "doctor --db={1}",
        "export - --store {1}",
        "runs --db {1}",
        "dev --no-reload --port 0 --store {1}",
        "start --port 0 --signing-key signkey-prod-{0} --event-key evtkey-{0} --store={1}",
    ],
)
def test_no_command_shows_the_password_of_its_database(arguments: str, silent: socket.socket, tmp_path: Path):
    port = silent.getsockname()[1]
    url = DATABASE.format(f"127.0.0.1:{port}")
    typed = arguments.format(KEY, url).split()
    process = subprocess.Popen([*STEPWELL, *typed], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asked, _ = silent.accept()  # with the address that was given: nothing is lost on the way
        shown = Path(f"/proc/{process.pid}/cmdline").read_text()
        asked.close()
    finally:
        process.kill()
        process.wait()

    assert "\0" + typed[0] + "\0" in shown
    for secret in (SECRET, KEY):
        assert secret not in shown


APP = """
import os
from pathlib import Path
from stepwell import Stepwell

Path("environment").write_text(str(os.environ))
app = Stepwell("shop")

@app.create_function(id="tell", trigger="shop/told")
async def tell(ctx):
    return 1
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked at in /proc")
def test_a_reloaded_server_still_knows_its_token_and_tells_the_app_nothing(
    start_dev: Callable[..., Dev], tmp_path: Path
):
    dev = start_dev("--token", SECRET, app=APP)
    dev.said("app.py, reloaded when it changes")
    (tmp_path / "environment").unlink()
    edit(dev, "return 1", "return 2")
    dev.said("app.py changed, reloaded")

    assert SECRET not in Path(f"/proc/{dev.process.pid}/cmdline").read_text()
    assert SECRET not in (tmp_path / "environment").read_text()
    assert dev.http("GET", "/v2/runs").status == 401
    assert dev.http("GET", "/v2/runs", authorization=f"Bearer {SECRET}").status == 200
