import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 20


class Member:
    """A process with the file open."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.edge.member", str(folder / "shared.db"), str(folder / "ledger")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_ROOT,
            text=True,
        )
        self.pid = self._answer()["started"]

    def ask(self, command: str, *rest: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join([command, *map(str, rest)]) + "\n")
        self.process.stdin.flush()
        return self._answer()[command]

    def end(self) -> str:
        """Close its input, which ends it; what it said on standard error."""
        _, error = self.process.communicate(timeout=_PATIENCE_S)
        return error

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the process ended: {self.process.communicate()[1]}")
        return json.loads(line)


@contextmanager
def _members(folder: Path, count: int) -> Iterator[list[Member]]:
    with ExitStack() as stack:
        members = []
        for _ in range(count):
            member = Member(folder)
            stack.callback(member.process.wait)
            stack.callback(member.process.kill)
            members.append(member)
        yield members
        for member in members:
            for pipe in (member.process.stdin, member.process.stdout, member.process.stderr):
                if pipe is not None and member.process.poll() is not None:
                    pipe.close()


def _until(condition: Callable[[], bool], what: str) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < _PATIENCE_S, f"never happened: {what}"
        time.sleep(0.01)
    return time.monotonic() - started


def _live(folder: Path) -> int:
    db = apsw.Connection(str(folder / "shared.db"), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(5000)
    try:
        (live,) = db.execute("SELECT count(*) FROM runs WHERE ended_at IS NULL").fetchall()[0]
        assert isinstance(live, int)
        return live
    finally:
        db.close()


def _ledger(folder: Path) -> list[tuple[int, int]]:
    return [(int(n), int(pid)) for n, pid in (line.split() for line in (folder / "ledger").read_text().splitlines())]


def test_one_process_leads_and_the_others_send_what_it_runs(tmp_path: Path) -> None:
    with _members(tmp_path, 3) as members:
        assert [member.ask("leads") for member in members] == [True, False, False]

        for round_ in range(10):
            for index, member in enumerate(members):
                assert member.ask("send", *range(round_ * 30 + index * 10, round_ * 30 + index * 10 + 10)) == 10

        _until(lambda: _live(tmp_path) == 0, "all runs ended")
        counts = Counter(n for n, _ in _ledger(tmp_path))
        assert counts == dict.fromkeys(range(300), 2)
        assert {pid for _, pid in _ledger(tmp_path)} == {members[0].pid}
        assert [member.end() for member in members] == ["", "", ""]


def test_a_follower_takes_over_within_seconds_when_the_leader_is_killed(tmp_path: Path) -> None:
    with _members(tmp_path, 2) as (leader, follower):
        follower.ask("send", *range(20))
        _until(lambda: len(_ledger(tmp_path)) >= 20, "the first steps ran")

        leader.process.kill()
        took = _until(lambda: bool(follower.ask("leads")), "the follower leads")
        follower.ask("send", *range(20, 40))

        assert took < 3
        _until(lambda: _live(tmp_path) == 0, "all runs ended")
        twos = Counter(n for n, _ in _ledger(tmp_path))
        assert set(twos) == set(range(40))
        assert all(2 <= times <= 3 for times in twos.values()), "only a body that was cut off may run again"
        assert "locked" not in follower.end()
