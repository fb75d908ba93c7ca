"""Onboarding: a welcome, a guide after a day, and a nudge two days later for those who have not begun.

The function below lives for three days and holds no process meanwhile. Stop the program in between and start it again:
it goes on where it was, and nobody is welcomed twice.

    python -m examples onboarding
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from examples.base import app, database, home, paced, quiet
from examples.mail import outbox, send_mail
from stepwell import Cancel, Context, event

A_DAY = paced(hours=24)
TWO_DAYS = paced(hours=48)


@event("app/user.signed-up")
@dataclass(frozen=True)
class SignedUp:
    user_id: str
    name: str
    email: str


@event("app/user.deleted")
@dataclass(frozen=True)
class Deleted:
    user_id: str


@event("app/project.created")
@dataclass(frozen=True)
class ProjectCreated:
    user_id: str
    title: str


@app.create_function(
    id="onboarding",
    trigger=SignedUp,
    # Whoever presses the button twice is welcomed once.
    idempotency="event.data.user_id",
    # Whoever leaves gets no more e-mails from us.
    cancel=Cancel(Deleted, match="data.user_id"),
)
async def onboarding(ctx: Context[SignedUp]) -> str:
    user = ctx.event.data
    await ctx.step.run("welcome", send_welcome, user)
    await ctx.step.sleep("a day to look around", A_DAY)
    await ctx.step.run("guide", send_guide, user)

    if await ctx.step.run("has a project?", has_project, user.user_id):
        return "began by themselves"
    # lookback: a project created between the question above and the start of this wait counts too.
    created = await ctx.step.wait_for_event(
        "first project", ProjectCreated, match="data.user_id", timeout=TWO_DAYS, lookback="run"
    )
    if created is not None:
        return f"began with {created.data.title}"
    await ctx.step.run("nudge", send_nudge, user)
    return "nudged"


def send_welcome(user: SignedUp) -> str:
    return send_mail(
        f"{user.user_id}-welcome", user.email, f"Welcome, {user.name}", "Good to have you here. Have a look around."
    )


def send_guide(user: SignedUp) -> str:
    return send_mail(
        f"{user.user_id}-guide", user.email, "Your first project", "Press 'New project', and give it a name."
    )


def send_nudge(user: SignedUp) -> str:
    return send_mail(
        f"{user.user_id}-nudge", user.email, "Can we help?", f"{user.name}, your first project is one click away."
    )


def has_project(user_id: str) -> bool:
    with database() as db:
        db.execute(PROJECTS)
        return db.execute("SELECT 1 FROM projects WHERE user_id = ?", [user_id]).fetchone() is not None


async def create_project(user_id: str, title: str) -> None:
    """What the app does when a user presses the button: write it down, then say so."""
    await asyncio.to_thread(insert_project, user_id, title)
    await app.send(ProjectCreated(user_id, title))


def insert_project(user_id: str, title: str) -> None:
    with database() as db:
        db.execute(PROJECTS)
        db.execute("INSERT INTO projects VALUES (?, ?)", [user_id, title])


PROJECTS = "CREATE TABLE IF NOT EXISTS projects (user_id TEXT, title TEXT)"


async def main() -> None:
    """Three people sign up: one never begins, one begins late, one begins at once."""
    async with app.embedded(str(home() / "onboarding.db")) as engine:
        for user_id, name in [("u1", "Ada"), ("u2", "Bo"), ("u3", "Cleo")]:
            await app.send(SignedUp(user_id, name, f"{name.lower()}@example.com"))
        await create_project("u3", "Garden")
        await asyncio.sleep((A_DAY + TWO_DAYS / 2).total_seconds())
        await create_project("u2", "Shed")
        await quiet(engine)
    print(*sorted(path.name for path in outbox().glob("u*.eml")), sep="\n")
