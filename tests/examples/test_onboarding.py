"""Onboarding writes the e-mails it should, when it should, and no others."""

from __future__ import annotations

from pathlib import Path

from examples.mail import outbox, read_mail
from examples.onboarding import Deleted, ProjectCreated, SignedUp, insert_project, onboarding
from stepwell.testing import Harness

ADA = SignedUp("u1", "Ada", "ada@example.com")


def mails() -> list[str]:
    return sorted(path.stem for path in outbox().iterdir())


def test_whoever_never_begins_is_welcomed_guided_and_nudged(t: Harness):
    t.send(ADA)
    assert mails() == ["u1-welcome"]

    t.advance("23h59m")
    assert mails() == ["u1-welcome"]
    t.advance("1m")
    assert mails() == ["u1-guide", "u1-welcome"]
    t.advance("47h59m")
    assert mails() == ["u1-guide", "u1-welcome"]
    t.advance("1m")

    assert mails() == ["u1-guide", "u1-nudge", "u1-welcome"]
    t.assert_completed(t.run(onboarding), "nudged")


def test_a_mail_is_a_message_that_mail_programs_read(t: Harness):
    t.send(ADA)

    mail = read_mail(outbox() / "u1-welcome.eml")
    assert mail["To"] == "ada@example.com"
    assert mail["Subject"] == "Welcome, Ada"
    assert mail["Message-ID"] == "<u1-welcome@examples.invalid>"
    assert "Good to have you here" in mail.get_content()


def test_whoever_began_in_the_first_day_is_not_nudged(t: Harness):
    t.send(ADA)
    insert_project("u1", "Garden")
    t.advance("1d")

    assert mails() == ["u1-guide", "u1-welcome"]
    t.assert_completed(t.run(onboarding), "began by themselves")


def test_whoever_begins_later_ends_the_wait(t: Harness):
    t.send(ADA)
    t.advance("2d")
    t.send([ProjectCreated("u2", "Somebody else's"), ProjectCreated("u1", "Shed")])

    t.assert_completed(t.run(onboarding), "began with Shed")
    t.advance("10d")
    assert mails() == ["u1-guide", "u1-welcome"]


def test_whoever_leaves_gets_no_more_mail(t: Harness):
    t.send(ADA)
    t.advance("1h")
    t.send(Deleted("u1"))
    t.advance("10d")

    t.assert_cancelled(t.run(onboarding))
    assert mails() == ["u1-welcome"]


def test_whoever_signs_up_twice_is_welcomed_once(t: Harness):
    t.send(ADA)
    t.send(ADA)

    assert len(t.runs(onboarding)) == 1


def test_a_crash_in_between_repeats_nothing(t: Harness, home: Path):
    t.send(ADA)
    (home / "outbox" / "u1-welcome.eml").unlink()
    t.advance("12h")
    t.crash()
    t.advance("3d")

    assert mails() == ["u1-guide", "u1-nudge"]
    t.assert_completed(t.run(onboarding), "nudged")
