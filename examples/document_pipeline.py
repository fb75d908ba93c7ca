"""A document pipeline: validate, summarise, classify, save, notify, for every text in a folder.

One run per document, four at a time. A document that cannot be read fails at once and is recorded by the failure
handler; a service that is briefly out of order costs a retry of one step, not of the document.

    python -m examples document_pipeline
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.base import DATA, app, database, folder, home, paced, quiet, write_whole
from examples.language import classifier, summarise, words
from stepwell import Backoff, Concurrency, Context, NonRetriableError, RunFailed, event

DOCUMENTS = DATA / "documents"
TRAINING = DATA / "training"
WORDS_MIN = 20


@event("documents/folder.filled")
@dataclass(frozen=True)
class FolderFilled:
    path: str


@event("documents/document.added")
@dataclass(frozen=True)
class DocumentAdded:
    """Events and results carry the path, never the text: both are stored, and copied into calls."""

    path: str


@dataclass(frozen=True)
class Kind:
    name: str
    margin: float


@app.create_function(id="scan-folder", trigger=FolderFilled)
async def scan_folder(ctx: Context[FolderFilled]) -> int:
    """Fan out: one event, and so one run, for each file."""
    paths = await ctx.step.run("list", list_files, ctx.event.data.path)
    await ctx.step.send_event("announce", [DocumentAdded(path) for path in paths])
    return len(paths)


async def record_rejected(ctx: Context[RunFailed]) -> None:
    """Runs once for each document whose run has failed for good. It may use steps like any function."""
    failed = ctx.event.data
    await ctx.step.run("record", save_rejected, failed.event["data"]["path"], failed.error.message)


@app.create_function(
    id="document",
    trigger=DocumentAdded,
    concurrency=Concurrency(4),
    retries=4,
    backoff=Backoff.exponential(paced(hours=1), longest="12h"),
    on_failure=record_rejected,
)
async def process_document(ctx: Context[DocumentAdded]) -> str:
    path = ctx.event.data.path
    await ctx.step.run("validate", validate, path)
    summary = await ctx.step.run("summarise", summarise_file, path)
    kind = await ctx.step.run("classify", classify_file, path)
    await ctx.step.run("save", save, path, kind, summary)
    await ctx.step.run("notify", deliver, path, kind.name, summary)
    return kind.name


def list_files(path: str) -> list[str]:
    return [str(file) for file in sorted(Path(path).iterdir()) if file.is_file()]


def validate(path: str) -> int:
    """The number of words. A broken file stays broken however often we look, so the error says: do not try again."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NonRetriableError(f"not a text in UTF-8: {error.reason} at byte {error.start}") from error
    except FileNotFoundError as error:
        raise NonRetriableError("the file is gone") from error
    count = len(words(text))
    if count < WORDS_MIN:
        raise NonRetriableError(f"{count} words are too few to say anything about")
    return count


def summarise_file(path: str) -> list[str]:
    return summarise(Path(path).read_text(encoding="utf-8"))


def classify_file(path: str) -> Kind:
    name, margin = classifier(TRAINING).classify(Path(path).read_text(encoding="utf-8"))
    return Kind(name, round(margin, 1))


def save(path: str, kind: Kind, summary: list[str]) -> None:
    with database() as db:
        db.execute(TABLE)
        # A second try writes the same row again instead of a second one.
        db.execute(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, NULL)",
            [Path(path).name, kind.name, kind.margin, "\n".join(summary)],
        )


def save_rejected(path: str, reason: str) -> None:
    with database() as db:
        db.execute(TABLE)
        db.execute("INSERT OR REPLACE INTO documents VALUES (?, NULL, NULL, NULL, ?)", [Path(path).name, reason])


def deliver(path: str, kind: str, summary: list[str]) -> str:
    """Put a note into the tray of those who care for this kind of document.

    The tray of the accounts office is stuck: it opens at the third pull. The counter in a file makes that the same each
    time, also when the program is killed between two pulls.
    """
    tray, name = folder(f"trays/{kind}"), Path(path).name
    if kind == "invoice":
        counter = folder("stuck") / name
        pulls = int(counter.read_text()) if counter.exists() else 0
        write_whole(counter, str(pulls + 1))
        if pulls < 2:
            raise OSError(f"the tray for {name} is stuck, pull {pulls + 1}")
    note = tray / f"{name}.note"
    write_whole(note, "\n".join([f"New {kind}: {name}", "", *summary, ""]))
    return str(note.relative_to(home()))


def processed() -> dict[str, str]:
    """What has become of each document: its kind, or why it was rejected."""
    with database() as db:
        db.execute(TABLE)
        rows = db.execute("SELECT name, coalesce(kind, 'rejected: ' || rejected) FROM documents ORDER BY name")
        return dict(rows.fetchall())


TABLE = """
    CREATE TABLE IF NOT EXISTS documents
    (name TEXT PRIMARY KEY, kind TEXT, margin REAL, summary TEXT, rejected TEXT)
"""


async def main() -> None:
    async with app.embedded(str(home() / "documents.db")) as engine:
        await app.send(FolderFilled(str(DOCUMENTS)))
        await quiet(engine)
    print(*(f"{name:<24} {outcome}" for name, outcome in processed().items()), sep="\n")
