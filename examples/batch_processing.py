"""Batch processing: split a file into chunks, work on them side by side, put the results together, tell somebody.

1,344 readings of eight weather stations become one table. Each chunk is a run of its own, so it has its own retries, is
seen by itself, and may run in another process; the limit says how many work at one moment.

    python -m examples batch_processing
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from examples.base import DATA, app, folder, home, quiet, write_whole
from examples.mail import outbox, read_mail, send_mail
from stepwell import Concurrency, Context, event

READINGS = DATA / "readings.csv"
CHUNK_ROWS = 200
COLDEST, HOTTEST = -60.0, 60.0  # what a station reports beyond these is a broken sensor, not weather


@event("weather/readings.uploaded")
@dataclass(frozen=True)
class ReadingsUploaded:
    path: str
    notify: str


@dataclass(frozen=True)
class Chunk:
    """Rows ``start`` to ``stop`` of a file, the first being 0."""

    path: str
    start: int
    stop: int


@dataclass(frozen=True)
class Tally:
    """What is known of one station: enough to put two of them together."""

    count: int
    total: float
    lowest: float
    highest: float

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.count + other.count,
            self.total + other.total,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
        )


@dataclass(frozen=True)
class ChunkResult:
    stations: dict[str, Tally]
    rejected: int


@app.create_function(id="readings-chunk", trigger=None, concurrency=Concurrency(3))
async def work_on_chunk(ctx: Context[Chunk]) -> ChunkResult:
    """Started by nothing but ``batch``, which invokes it. At most three work at one moment, whoever asks."""
    return await ctx.step.run("tally", tally, ctx.event.data)


@app.create_function(id="readings-batch", trigger=ReadingsUploaded)
async def batch(ctx: Context[ReadingsUploaded]) -> dict[str, int]:
    upload = ctx.event.data
    rows = await ctx.step.run("count rows", count_rows, upload.path)
    chunks = [Chunk(upload.path, start, min(start + CHUNK_ROWS, rows)) for start in range(0, rows, CHUNK_ROWS)]

    # Branches need ids of their own: "chunk 0", "chunk 1", ... The results come in the order of the branches.
    results = await asyncio.gather(
        *(ctx.step.invoke(f"chunk {number}", work_on_chunk, data=chunk) for number, chunk in enumerate(chunks))
    )

    stations: dict[str, Tally] = {}
    for result in results:
        for station, found in result.stations.items():
            stations[station] = stations[station] + found if station in stations else found
    rejected = sum(result.rejected for result in results)

    await ctx.step.run("write result", write_result, ctx.run_id, stations)
    await ctx.step.run("notify", notify, ctx.run_id, upload.notify, stations, rejected)
    return {"chunks": len(chunks), "rows": rows, "stations": len(stations), "rejected": rejected}


def count_rows(path: str) -> int:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


def tally(chunk: Chunk) -> ChunkResult:
    stations: dict[str, Tally] = {}
    rejected = 0
    with Path(chunk.path).open(encoding="utf-8", newline="") as file:
        for row in itertools.islice(csv.DictReader(file), chunk.start, chunk.stop):
            try:
                celsius = float(row["celsius"])
            except ValueError:
                rejected += 1
                continue
            if not COLDEST < celsius < HOTTEST:
                rejected += 1
                continue
            one = Tally(1, celsius, celsius, celsius)
            known = stations.get(row["station"])
            stations[row["station"]] = known + one if known else one
    return ChunkResult(stations, rejected)


def write_result(batch_id: str, stations: dict[str, Tally]) -> str:
    path = folder("weather") / f"{batch_id}.json"
    table = {
        name: {
            "readings": found.count,
            "mean": round(found.total / found.count, 2),
            "low": found.lowest,
            "high": found.highest,
        }
        for name, found in sorted(stations.items())
    }
    write_whole(path, json.dumps(table, indent=2))
    return path.name


def notify(batch_id: str, to: str, stations: dict[str, Tally], rejected: int) -> str:
    lines = [
        f"{name:<8} {found.total / found.count:6.1f} °C   from {found.lowest:6.1f} to {found.highest:6.1f}"
        for name, found in sorted(stations.items())
    ]
    body = "\n".join([*lines, "", f"{rejected} readings could not be used."])
    return send_mail(f"{batch_id}-weather", to, f"The readings of {len(stations)} stations", body)


async def main() -> None:
    async with app.embedded(str(home() / "batch.db")) as engine:
        await app.send(ReadingsUploaded(str(READINGS), "weather@example.com"))
        await quiet(engine)
    print(*(read_mail(path).get_content() for path in outbox().glob("*-weather.eml")), sep="\n")
