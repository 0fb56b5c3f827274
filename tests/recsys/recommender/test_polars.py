"""Frames of Polars: events in, results out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from recsys import Recommender, wiring
from recsys.errors import InvalidValueError
from streaming.events.schema import Event, Interaction
from streaming.ingest.codec import to_events
from streaming.log.event_log import read_range
from tests.recsys.recommender.conftest import DRINKS, START, config

pytestmark = pytest.mark.slow

LISTS = pl.DataFrame(
    {
        "id": [f"l{n}" for n in range(4)],
        "time": [START + n for n in range(4)],
        "user": ["u", "v", "u", "w"],
        "items": [["tea", "cola"]] * 4,
    }
)
CLICKS = pl.DataFrame({"impression": ["l0", "l1"], "time": [START + 2, START + 3], "item": ["tea", "cola"]})


def logged(recommender: Recommender) -> list[Event]:
    log = wiring.event_log(recommender.config)
    events = [event for chunk in read_range(log, 0, 0, log.end()[0]) for event in to_events(chunk.events)]
    log.close()
    return events


def test_eager_and_lazy_frames_are_the_same_events(tmp_path: Path) -> None:
    read = []
    for name, frames in (("eager", [LISTS, CLICKS]), ("lazy", [LISTS.lazy(), CLICKS.lazy()])):
        with Recommender(config(), folder=tmp_path / name) as made:
            assert made.ingest(frames).accepted == 6
            assert made.ingest(frames[1]).duplicate == 2
            read.append(logged(made))
    assert read[0] == read[1]
    assert sum(isinstance(event, Interaction) for event in read[0]) == 2


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("user", pl.Series(["u", "v", "u", "w"], dtype=pl.Categorical)),
        ("user", pl.Series(["u", "v", "u", "w"], dtype=pl.Enum(["u", "v", "w"]))),
        ("items", pl.Series([["tea", "cola"]] * 4, dtype=pl.List(pl.Categorical))),
        ("items", pl.Series([["tea", "cola"]] * 4, dtype=pl.Array(pl.String, 2))),
        ("items", pl.Series(["tea|cola"] * 4)),
        ("time", pl.Series([datetime.fromtimestamp(START / 1000, UTC)] * 4, dtype=pl.Datetime("ns", "UTC"))),
        ("time", pl.Series([datetime.fromtimestamp(START / 1000, UTC)] * 4, dtype=pl.Datetime("ms", "UTC"))),
        ("time", pl.Series([date(2026, 1, 1)] * 4)),
    ],
    ids=["categorical", "enum", "list of categories", "array", "text", "ns", "ms", "date"],
)
def test_types_of_polars_are_read(tmp_path: Path, column: str, values: pl.Series) -> None:
    with Recommender(config(), folder=tmp_path / "plain") as made:
        same = LISTS.with_columns(time=pl.lit(START)) if column == "time" else LISTS
        made.ingest(same)
        expected = logged(made)
    with Recommender(config(), folder=tmp_path / "typed") as made:
        made.ingest(LISTS.with_columns(values.alias(column)))
        assert logged(made) == expected


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (LISTS.with_columns(pl.Series("user", [object()] * 4)), "column 'user' has Python objects"),
        (LISTS.with_columns(pl.Series("user", [1] * 4, dtype=pl.Int128)), "does not become an Arrow table"),
        (LISTS.lazy().select(pl.col("nothing")), "the LazyFrame cannot be computed: unable to find column"),
        (LISTS["user"], "does not become an Arrow table"),
    ],
    ids=["objects", "wide integers", "failing", "series"],
)
def test_what_cannot_be_read_is_an_error_that_says_why(tmp_path: Path, frame: object, words: str) -> None:
    with Recommender(config(), folder=tmp_path) as made, pytest.raises(InvalidValueError, match=words):
        made.ingest(frame)


def test_results_are_frames_of_polars(fitted: Recommender) -> None:
    ranking = fitted.rank("0", list(DRINKS))
    frame = ranking.to_polars()
    assert frame.columns == ["item", "score", "source"]
    assert frame["item"].to_list() == [row.item for row in ranking]
    assert frame["score"].to_list() == [row.score for row in ranking]
    arms = fitted.replay(0.5, refresh="2 slices").arms
    assert pl.DataFrame(arms).equals(arms.to_polars())
    assert arms.to_polars()["arm"].to_list() == ["frozen", "online@2 slices"]
