"""Who may act, and what a form says of what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import pytest

from stepwell.dashboard.acting import Forbidden, FormView, asked, done
from stepwell.dashboard.action import Action, Choice, Done, Field, Form, Given, Kind, Wrong
from stepwell.dashboard.actions import ACTIONS
from stepwell.dashboard.guest import Guest
from stepwell.dashboard.operations import Deed
from stepwell.dashboard.page import Missing, Visit
from stepwell.errors import InvalidEvent, StorageUnavailable
from stepwell.model.user import Role

FIELDS = [
    Field(name="data", kind=Kind.JSON, value="{}"),
    Field(name="all", kind=Kind.FLAG, value="1"),
    Field(name="stage", kind=Kind.HIDDEN, value="first"),
]


class Recorder:
    """Operations that do nothing but remember."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []
        self.acted: list[tuple[str, str]] = []
        self.said: list[Mapping[str, str]] = []

    def acting(self, who: str, action: str, target: str, said: Mapping[str, str]) -> AbstractContextManager[object]:
        self.acted.append((who, target))
        self.said.append(said)
        return nullcontext()

    async def record(self, deed: Deed) -> None:
        self.deeds.append(deed)


def visit() -> Visit:
    return Visit(cast("Any", None), 7, "/things/x")


async def ask(visit: Visit) -> Form:
    return Form(title="Do it?", says=[], verb="Do it", back="/things", fields=FIELDS)


def action(act: Any, role: Role = Role.OPERATOR) -> Action:
    return Action(name="do", path="/things/{id}", ask=ask, act=act, role=role)


def answering(result: Any) -> Any:
    async def act(operations: Any, visit: Visit, given: Given) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    return act


def run(coroutine: Any) -> Any:
    """What a coroutine that waits for nothing gives."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


def attempt(result: Any, texts: dict[str, str]) -> tuple[Any, list[Deed]]:
    recorder = Recorder()
    found = run(done(action(answering(result)), cast("Any", recorder), visit(), Guest(name="ada"), "/things/x", texts))
    return found, recorder.deeds


@pytest.mark.parametrize("each", [each for each in ACTIONS if each.role is not Role.VIEWER], ids=lambda each: each.name)
def test_whoever_may_only_look_is_neither_asked_nor_obeyed(each: Action) -> None:
    viewer = Guest(role=Role.VIEWER)
    assert not viewer.may(each.role)

    for refused in (
        asked(each, visit(), viewer, "/"),
        done(each, cast("Any", None), visit(), viewer, "/", {}),
    ):
        with pytest.raises(Forbidden):
            refused.send(None)


@pytest.mark.parametrize(
    ("role", "needed", "may"),
    [
        (Role.VIEWER, "viewer", True),
        (Role.OPERATOR, "viewer", True),
        (Role.OPERATOR, "admin", False),
        (Role.ADMIN, "operator", True),
    ],
)
def test_a_role_may_what_those_before_it_may(role: Role, needed: str, may: bool) -> None:
    assert Guest(role=role).may(needed) is may


def test_names_of_actions_and_their_addresses_are_their_own() -> None:
    for names in ([each.name for each in ACTIONS], [each.path for each in ACTIONS]):
        assert len(set(names)) == len(names)


def test_each_form_that_is_shown_has_a_seed_of_its_own() -> None:
    act = action(answering(None))
    first, second = (run(asked(act, visit(), Guest(), "/things/x")) for _ in range(2))

    assert first.seed != second.seed
    assert first.seed.startswith("7,")
    assert [(each.field.name, each.value) for each in first.fields] == [("data", "{}"), ("all", "1")]
    assert first.hidden == {"stage": "first"}


@pytest.mark.parametrize(
    ("raised", "status", "outcome"),
    [
        (Wrong({"data": "No."}), 422, "refused"),
        (InvalidEvent("it has no name"), 422, "invalid-event"),
        (StorageUnavailable("the disk is full"), 503, "storage-unavailable"),
    ],
)
def test_what_could_not_be_done_is_shown_with_what_was_typed(raised: Exception, status: int, outcome: str) -> None:
    view, deeds = attempt(raised, {"data": "{1}", "seed": "9,x", "stage": "forged"})

    assert isinstance(view, FormView)
    assert [(each.field.name, each.value) for each in view.fields] == [("data", "{1}"), ("all", "")]
    assert (view.status, view.seed, view.hidden) == (status, "9,x", {"stage": "first"})
    assert view.fields[0].wrong == ("No." if isinstance(raised, Wrong) else "")
    assert [(deed.action, deed.address, deed.who, deed.outcome) for deed in deeds] == [
        ("do", "/things/x", "ada", outcome)
    ]


def test_whatever_is_done_is_recorded_once() -> None:
    found, deeds = attempt(Done(text="It was done.", address="/things/x"), {})

    assert found.text == "It was done."
    assert [deed.outcome for deed in deeds] == ["done"]


@pytest.mark.parametrize(
    ("fields", "texts", "target", "said"),
    [
        (FIELDS, {"data": "{}", "stage": "forged", "secret": "hush", "name": "mallory"}, "", ["data", "stage"]),
        ([*FIELDS, Field(name="name")], {"name": "bob", "all": "1"}, "bob", ["all"]),
        ([Field(name="word", kind=Kind.PASSWORD), Field(name="why")], {"word": "hush", "why": "so"}, "", ["why"]),
        (None, {"data": "hush"}, "", []),
    ],
)
def test_of_what_was_sent_that_is_noted_which_the_form_asks_for(
    fields: list[Field] | None, texts: dict[str, str], target: str, said: list[str]
) -> None:
    async def asks(visit: Visit) -> Form:
        if fields is None:
            raise Missing("There is nothing to ask any more")
        return Form(title="Do it?", says=[], verb="Do it", back="/things", fields=fields)

    recorder, all_done = Recorder(), Done(text="It was done.", address="/things")
    act = Action(name="do", path="/things", ask=asks, act=answering(all_done))

    assert run(done(act, cast("Any", recorder), visit(), Guest(name="ada"), "/things", texts)) is all_done

    assert recorder.acted == [("ada", target)]
    assert recorder.said == [{name: texts[name] for name in said}]


def test_an_action_that_fails_as_nobody_foresaw_is_recorded_as_well() -> None:
    recorder = Recorder()
    failing = done(action(answering(KeyError("x"))), cast("Any", recorder), visit(), Guest(), "/", {})

    with pytest.raises(KeyError):
        failing.send(None)
    assert [deed.outcome for deed in recorder.deeds] == ["failed"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,\n "b": }', "in line 2, column 7"),
        ("[1]", "It has to be a JSON object"),
        ('"\udc00"', "It is no JSON"),
        ('{"a":' * 10_000, "It is no JSON"),
    ],
)
def test_json_that_cannot_be_read_says_where(text: str, said: str) -> None:
    given = Given({"data": text})
    given.json("data", dict[str, Any], "a JSON object")

    with pytest.raises(Wrong) as raised:
        given.check()
    assert said in raised.value.fields["data"]


def test_all_that_is_wrong_is_said_at_once() -> None:
    given = Given({"name": "x" * 300, "at": "tomorrow", "how": "both"})
    given.text("name")
    given.text("why", required=True)
    given.moment("at")
    given.choice("how", [Choice(value="one", word="One").value])

    with pytest.raises(Wrong) as raised:
        given.check()
    assert set(raised.value.fields) == {"name", "why", "at", "how"}


def test_what_is_given_rightly_is_read() -> None:
    given = Given({"name": " ada ", "at": "2026-01-02T03:04:05Z", "how": "one", "data": ' {"a": 1} ', "all": "1"})

    assert given.text("name") == "ada"
    assert given.moment("at") == 1_767_323_045_000
    assert given.choice("how", ["one", "two"]) == "one"
    assert given.json("data", dict[str, Any]) == b'{"a": 1}'
    assert given.json("nothing") is None
    assert given.flag("all") and not given.flag("none")
    given.check()
