"""What the chunks found, put together, is what is in the file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import mean

from examples.batch_processing import READINGS, ReadingsUploaded, batch, work_on_chunk
from examples.mail import outbox, read_mail
from stepwell.testing import Harness


def test_a_file_is_split_worked_on_put_together_and_told(t: Harness, home: Path):
    t.send(ReadingsUploaded(str(READINGS), "weather@example.com"))

    run = t.run(batch)
    t.assert_completed(run, {"chunks": 7, "rows": 1344, "stations": 8, "rejected": 6})
    assert len(t.runs(work_on_chunk)) == 7
    found = json.loads((home / "weather" / f"{run.id}.json").read_text())
    assert found == counted_by_hand()
    mail = read_mail(outbox() / f"{run.id}-weather.eml")
    assert mail["To"] == "weather@example.com"
    assert "6 readings could not be used." in mail.get_content()


def test_a_file_that_is_not_there_fails_the_batch_and_tells_nobody(t: Harness, home: Path):
    t.send(ReadingsUploaded(str(home / "nowhere.csv"), "weather@example.com"))
    t.advance("1h")

    t.assert_failed(t.run(batch), "nowhere.csv")
    assert not (home / "outbox").exists()


def counted_by_hand() -> dict:
    stations: dict[str, list[float]] = {}
    with READINGS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["celsius"] and abs(float(row["celsius"])) < 60:
                stations.setdefault(row["station"], []).append(float(row["celsius"]))
    return {
        name: {"readings": len(values), "mean": round(mean(values), 2), "low": min(values), "high": max(values)}
        for name, values in stations.items()
    }
