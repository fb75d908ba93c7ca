"""pgbouncer in transaction mode: each transaction may go to another connection, and a session means nothing."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tests.postgres import ask, server

_SETTINGS = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 500
admin_users = postgres
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
server_idle_timeout = 5
server_login_retry = 0.2
"""
_USERS = ("pgserver", "postgres", "nobody")  # the first may open the socket of our own server
_UP_S_MAX = 20.0


class Missing(Exception):
    """There is no pgbouncer on this machine."""


class Pooler:
    """A pgbouncer of its own before the PostgreSQL of this URL, on a port of its own.

    It has ``pool`` connections to each database, fewer than its clients, so that transactions really change places.
    Raises ``Missing``.
    """

    def __init__(self, url: str, *, pool: int = 6) -> None:
        command = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
        if command is None:
            raise Missing("there is no pgbouncer; fix: scripts/setup --test as root, or apt-get install pgbouncer")
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="stepwell-pooler-"))
        settings = self._folder / "pgbouncer.ini"
        told = _keywords(url)
        settings.write_text(_SETTINGS.format(server=told, port=self.port, pool=pool, folder=self._folder).lstrip())
        user = _unprivileged() if os.geteuid() == 0 else None  # it refuses to be root
        if user is not None:
            for each in (self._folder, settings):
                os.chown(each, pwd.getpwnam(user).pw_uid, -1)
        self._process = subprocess.Popen(
            [command, str(settings)],
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        self._wait_up()

    def at(self, database: str) -> str:
        """The URL of a database of the server, through the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _wait_up(self) -> None:
        deadline = time.monotonic() + _UP_S_MAX
        while True:
            try:
                ask(self.at("postgres"), "SELECT 1")
                return
            except (OSError, asyncpg.PostgresError) as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    log = self._folder / "pgbouncer.log"
                    said = log.read_text()[-2000:] if log.is_file() else ""
                    self.close()
                    raise AssertionError(f"pgbouncer does not serve: {error}\n{said}") from error
                time.sleep(0.02)


@cache
def pooler() -> Pooler:
    """One before the server that the tests of this process use."""
    made = Pooler(server())
    atexit.register(made.close)
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _keywords(url: str) -> str:
    """Where it is and who asks, in the words of pgbouncer's settings."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    found = {"host": host, "port": parts.port or 5432, "user": parts.username or "postgres"}
    if parts.password:
        found["password"] = parts.password
    return " ".join(f"{name}={value}" for name, value in found.items())


def _unprivileged() -> str:
    known = {each.pw_name for each in pwd.getpwall()}
    return next(name for name in _USERS if name in known)
