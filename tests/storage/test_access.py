"""Users, their sessions, and what people did."""

from __future__ import annotations

from stepwell.limits import AUDIT_KEPT
from stepwell.model.changes import (
    BeginSession,
    DropUser,
    EndSession,
    EndSessions,
    SaveAudit,
    SaveUser,
    SeeSession,
)
from stepwell.model.questions import GetSession, GetUser, ListAudit, ListSessions, ListUsers
from stepwell.storage.interface import Store
from tests.storage.nouns import audit, near, session, user, write

YEAR_MS = AUDIT_KEPT // type(AUDIT_KEPT)(milliseconds=1)


async def test_a_user_is_one_row_whose_role_and_password_change(store: Store):
    await write(store, SaveUser(user("bob")), SaveUser(user("ada")))
    await write(store, SaveUser(user("ada", "admin", password="other", created_at=99, changed_at=20)))

    ada = user("ada", "admin", password="other", created_at=10, changed_at=20)
    assert await store.read(ListUsers(10)) == [ada, user("bob")]
    assert await store.read(ListUsers(1)) == [ada]
    assert await store.read(GetUser("ada")) == ada

    await write(store, DropUser("ada"), DropUser("nobody"))
    assert await store.read(GetUser("ada")) is None


async def test_a_session_is_found_by_its_hash_until_it_is_ended(store: Store):
    await write(store, BeginSession(session(), 10, 9))
    assert await store.read(GetSession("s1")) == session()
    assert await store.read(GetSession("s2")) is None

    await write(store, SeeSession("s1", 30), SeeSession("s1", 20), SeeSession("gone", 20))
    assert await store.read(GetSession("s1")) == session(seen_at=30)

    await write(store, EndSession("s1"), EndSession("s1"))
    assert await store.read(GetSession("s1")) is None


async def test_sessions_are_listed_newest_first_without_those_that_have_expired(store: Store):
    old, mine, other = session("s1", expires_at=50), session("s2", begun_at=20), session("s3", "bob", 30)
    for each in (old, mine, other):
        await write(store, BeginSession(each, 10, 9))

    assert await store.read(ListSessions(20, 9)) == [other, mine, old]
    assert await store.read(ListSessions(50, 9)) == [other, mine]
    assert await store.read(ListSessions(20, 1)) == [other]
    assert await store.read(ListSessions(20, 9, "ada")) == [mine, old]


async def test_who_logs_in_ends_what_has_expired_and_the_oldest_of_their_own(store: Store):
    await write(store, BeginSession(session("s0", "bob", 5, expires_at=30), 5, 2))
    for number in (1, 2, 3):
        await write(store, BeginSession(session(f"s{number}", begun_at=10 * number), 10 * number, 2))

    assert [each.id for each in await store.read(ListSessions(0, 9))] == ["s3", "s2"]


async def test_all_sessions_of_somebody_end_at_once(store: Store):
    for each in (session("s1"), session("s2"), session("s3", "bob")):
        await write(store, BeginSession(each, 10, 9))

    await write(store, EndSessions("ada"))

    assert [each.id for each in await store.read(ListSessions(20, 9))] == ["s3"]


async def test_what_was_done_is_written_once_and_found_by_who_and_what(store: Store):
    first, second = audit(near("1")), audit(near("2"), who="bob", target="r2", detail="é", request="q")
    third = audit(near("3"), target="r2")
    await write(store, SaveAudit(first), SaveAudit(second), SaveAudit(third))
    await write(store, SaveAudit(audit(near("1"), action="other")))

    assert await store.read(ListAudit(9)) == [third, second, first]
    assert await store.read(ListAudit(2)) == [third, second]
    assert await store.read(ListAudit(9, before=near("3"))) == [second, first]
    assert await store.read(ListAudit(9, after=near("1"))) == [third, second]
    assert await store.read(ListAudit(9, who="ada")) == [third, first]
    assert await store.read(ListAudit(9, target="r2")) == [third, second]


async def test_what_was_done_is_kept_for_a_year_and_for_as_long_as_runs(store: Store):
    now = 2 * YEAR_MS
    for number, at in enumerate((100, now - YEAR_MS - 1, now - YEAR_MS)):
        await write(store, SaveAudit(audit(near(str(number)), at)))

    await store.sweep(50, 100, now=now)
    assert len(await store.read(ListAudit(9))) == 3
    await store.sweep(now, 100, now=now)

    assert await store.read(ListAudit(9)) == [audit(near("2"), now - YEAR_MS)]
