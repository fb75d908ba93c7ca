"""Flags of the Inngest server: what scripts pass that were written for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from stepwell.cli import dev, start
from stepwell.cli.elsewhere import without_effect
from tests.edge.conftest import Dev

COMMANDS = {"dev": dev.command, "start": start.command}


def read(name: str, *arguments: str) -> click.Context:
    """The arguments as the command gets them, before it does anything."""
    return COMMANDS[name].make_context(name, list(arguments))


@pytest.fixture(params=COMMANDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_number_of_workers_is_that_of_calls_in_flight(name: str) -> None:
    assert read(name, "--queue-workers", "7").params["concurrency"] == 7


def test_so_it_is_in_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("queue-workers = 7\n")

    assert read(name, "--config", str(file)).params["concurrency"] == 7


@pytest.mark.parametrize("flags", [["--tick", "10"], ["--tick", "150ms"], ["--persist"]])
def test_what_changes_nothing_is_accepted_and_says_why(name: str, flags: list[str]) -> None:
    with read(name, *flags):
        (told,) = without_effect()

    assert told.startswith(f"{flags[0]} has no effect: ")


def test_who_gave_none_of_them_is_told_nothing(name: str) -> None:
    with read(name):
        assert without_effect() == []


def test_a_tick_has_to_be_a_length_of_time(name: str) -> None:
    with pytest.raises(click.BadParameter, match=r"'soon' is not a length of time: .*milliseconds"):
        read(name, "--tick", "soon")


@pytest.mark.parametrize(
    ("flag", "instead"),
    [
        ("--sqlite-dir", "--db"),
        ("--postgres-uri", "--db"),
        ("--redis-uri", "--db"),
        ("--connect-gateway-grpc-port", "--connect-gateway-port"),
        ("--connect-executor-grpc-port", "--connect-gateway-port"),
    ],
)
def test_what_would_change_something_is_refused_with_what_to_give_instead(
    name: str, tmp_path: Path, flag: str, instead: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f'{flag.removeprefix("--")} = "1"\n')

    for arguments in ([flag, "1"], ["--config", str(file)]):
        with pytest.raises(click.UsageError, match=f"There is no {flag} here. .*{instead}"):
            read(name, *arguments)


@pytest.mark.slow
def test_it_is_said_once_at_the_start_and_not_when_the_code_changes(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--tick", "10", "--json-logs")
    app = dev.folder / "app.py"
    assert dev.url
    app.write_text(app.read_text().replace('"billed"', '"billed anew"'))
    dev.said("reloaded: 7 functions")

    notices = [json.loads(line)["text"] for line in dev.output.splitlines() if "notice" in line]

    assert [text for text in notices if "--tick" in text] == [
        "--tick has no effect: nothing is polled here, each item is taken when it is due"
    ]
