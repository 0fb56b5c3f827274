"""Lists and clicks in two files: together they are learned from as if they were one, apart it is said what is lost."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as Ran

from recsys.cli import main
from recsys.evaluation.replay.replay_result import ReplayResult
from streaming.events.schema import Impression, Interaction
from streaming.ingest.codec import to_events
from streaming.log.file_log import FileLog

pytestmark = pytest.mark.slow

MINUTE = 60_000
START = 1_507_680_000_000
CONFIG = """
[features]
dim = 4

[[features.fields]]
name = "item"
source = "item"

[[features.fields]]
name = "device"
source = "request.device"

[model]
layers = 1
heads = 1
units = 8
mlp = [8]

[training]
batch_size = 32

[[log.mapping]]
files = "impressions*.csv"
kind = "impression"
columns = { id = "request", time = "at", user = "visitor", items = "list", "features.device" = "device" }
separator = ";"

[[log.mapping]]
files = "clicks*.csv"
kind = "interaction"
columns = { time = "at", impression = "request", item = "item" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """200 lists of 5 items, one every 10 minutes, and 205 clicks 20 s after their list."""
    rng = random.Random(0)
    (tmp_path / "recsys.toml").write_text(CONFIG)
    lists = [
        (f"r{i}", START + 10 * MINUTE * i, f"u{i % 9}", rng.sample([f"i{n}" for n in range(20)], 5)) for i in range(200)
    ]
    clicks = [(time + 20_000, id_, items[0]) for id_, time, _, items in lists]
    clicks += [(time + 20_000, id_, items[1]) for id_, time, _, items in lists[::40]]
    with (tmp_path / "impressions.csv").open("w", newline="") as file:
        rows = [(id_, time, user, ";".join(items), "phone") for id_, time, user, items in lists]
        csv.writer(file).writerows([("request", "at", "visitor", "list", "device"), *rows])
    with (tmp_path / "clicks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("at", "request", "item"), *sorted(clicks)])
    shown = [
        {"type": "impression", "id": id_, "time": time, "user": user, "items": items, "features": {"device": "phone"}}
        for id_, time, user, items in lists
    ]
    acted = [{"type": "interaction", "time": time, "impression": id_, "item": item} for time, id_, item in clicks]
    events = sorted([*shown, *acted], key=lambda event: int(str(event["time"])))
    (tmp_path / "sorted.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return tmp_path


def recsys(folder: Path, command: str, *arguments: str) -> Ran:
    return CliRunner().invoke(main, [command, "-c", str(folder / "recsys.toml"), *arguments])


def ingest(folder: Path, *names: str) -> str:
    ran = recsys(folder, "ingest", *(str(folder / name) for name in names))
    assert ran.exit_code == 0, ran.output
    return " ".join(ran.output.split())


def replay(folder: Path) -> tuple[Ran, ReplayResult | None]:
    ran = recsys(folder, "replay", "--batch-until", "0.2", "--refresh", "1h", "--out", str(folder / "out"))
    path = folder / "out" / "result.json"
    return ran, ReplayResult.from_json(path.read_bytes()) if path.exists() else None


@pytest.mark.parametrize(
    "names", [("sorted.jsonl",), ("impressions.csv", "clicks.csv"), ("clicks.csv", "impressions.csv")]
)
def test_together_nothing_is_lost(folder: Path, names: tuple[str, ...]) -> None:
    said = ingest(folder, *names)
    assert "405 read = 405 accepted" in said
    assert "newer ones" not in said
    ran, result = replay(folder)
    assert ran.exit_code == 0, ran.output
    assert "Not learned" not in ran.output
    assert result is not None
    assert result.counts["items_shown"] == 1000
    assert result.counts["positives_scored"] == 164  # of the 160 lists from number 40 on, four with two clicks
    assert [result.counts[name] for name in ("late_impressions", "late", "unmatched", "unknown_items")] == [0, 0, 0, 0]


def test_lists_before_clicks_loses_labels_and_says_so(folder: Path) -> None:
    assert "newer ones" not in ingest(folder, "impressions.csv")
    said = ingest(folder, "clicks.csv")
    assert "201 events came more than 31m after newer ones; the joiner cannot use them: ingest files that" in said
    ran, result = replay(folder)
    assert ran.exit_code == 0, ran.output
    assert result is not None
    assert result.counts["late"] + result.counts["unmatched"] == 201
    said = " ".join(ran.output.split())
    assert "Not learned from, in the whole log: " in said
    assert "interactions without their impression" in said
    assert "Only 4 positives were scored" in said


def test_clicks_before_lists_is_not_evaluated_when_nothing_can_be_learned(folder: Path) -> None:
    ingest(folder, "clicks.csv")
    assert "196 events came more than 31m after newer ones" in ingest(folder, "impressions.csv")
    ran, result = replay(folder)
    assert ran.exit_code == 1
    assert result is None
    assert "196 impressions that came after their window had closed" in " ".join(ran.output.split())


DOCUMENT = Path(__file__).parents[4] / "docs" / "events.md"


def blocks(language: str, title: str = "Two files that belong together") -> list[str]:
    """The examples of this language in a section."""
    section = DOCUMENT.read_text("utf-8").split(f"## {title}")[1].split("\n## ")[0]
    return [block.split("```")[0] for block in section.split(f"```{language}\n")[1:]]


def test_the_example_in_the_document_is_ingested(tmp_path: Path) -> None:
    (toml,) = blocks("toml")
    (tmp_path / "recsys.toml").write_text(toml)
    for name, text in zip(("impressions.csv", "clicks.csv"), blocks("csv"), strict=True):
        (tmp_path / name).write_text(text)
    assert "3 read = 3 accepted + 0 duplicate + 0 dead" in ingest(tmp_path, "clicks.csv", "impressions.csv")
    first, second, clicked = to_events(FileLog(tmp_path / "run" / "log").read(0, 0).events)
    assert isinstance(first, Impression)
    assert isinstance(second, Impression)
    assert isinstance(clicked, Interaction)
    assert (first.items, first.features) == (["a1", "a2", "a3"], {"device": "phone"})
    assert (first.time, first.item_features) == (1507680000123, {"price": [9.5, 12, None]})
    assert (clicked.time, clicked.impression, clicked.item) == (1507680004000, second.id[:-1] + "1", "a2")


def test_labelled_rows_and_labelled_items_become_lists_as_the_document_says(tmp_path: Path) -> None:
    shown, behaviors = blocks("toml", "Lists, labels and feedback in one file")
    (tmp_path / "recsys.toml").write_text(shown + behaviors)
    rows = ["r1,5,u,a,0,0,9.5", "r1,5,u,b,1,2,7", "r2,6,u,a,0,0,9.5"]
    (tmp_path / "shown.csv").write_text("request,at,visitor,product,clicked,bought,price\n" + "\n".join(rows) + "\n")
    (tmp_path / "behaviors.tsv").write_text("7\tU9\t11/11/2019 9:05:58 AM\tN8 N9\tN1-1 N2-0\n")
    assert "6 read = 6 accepted" in ingest(tmp_path, "shown.csv", "behaviors.tsv")
    found = to_events(FileLog(tmp_path / "run" / "log").read(0, 0).events)
    lists = {event.id: (event.time, event.items) for event in found if isinstance(event, Impression)}
    assert lists == {"r1": (5_000, ["a", "b"]), "r2": (6_000, ["a"]), "7": (1_573_463_158_000, ["N1", "N2"])}
    done = [(event.impression, event.item, event.action) for event in found if isinstance(event, Interaction)]
    assert sorted(done) == [("7", "N1", "click"), ("r1", "b", "buy"), ("r1", "b", "click")]
