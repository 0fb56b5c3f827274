"""Importers make event streams by the rules that their data cards state."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.datasets.card import Dataset
from recsys.datasets.holding import holding
from recsys.datasets.ml1m import ml1m, ratings_of
from recsys.datasets.ml1m_autoint import ml1m_autoint
from recsys.datasets.movielens import MOST, SITTING, movie_features, movielens_small, sittings
from recsys.errors import InvalidValueError
from streaming.events.schema import EVENT_SCHEMA, Event, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.codec import decode_lines, to_events

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("RECSYS_SHARED_DATA", ROOT.parent / "shared" / "data"))


def shared(name: str) -> Path:
    if not (path := SHARED / name).exists():
        pytest.skip(f"research data {path} is not here; set RECSYS_SHARED_DATA to its folder")
    return path


def all_events(dataset: Dataset) -> list[Event]:
    return [event for batch in dataset for event in to_events(batch)]


def check_stream(dataset: Dataset) -> pa.Table:
    """Every data set: valid events, in time order, ids unique, as many as the card says, the same again."""
    table = pa.Table.from_batches(list(dataset), EVENT_SCHEMA)
    table.validate(full=True)
    times = table["time"].to_numpy()
    assert (times[1:] >= times[:-1]).all()
    assert (times[0], times[-1]) == (dataset.card.start, dataset.card.end)
    assert len(table) == dataset.card.counts["events"]
    assert pa.compute.count_distinct(table["id"]).as_py() == len(table)
    assert table["id"].null_count == 0
    assert pa.Table.from_batches(list(dataset), EVENT_SCHEMA).equals(table)
    return table


def as_accepted(events: list[Event]) -> None:
    """What an importer makes would also be accepted at the edge."""
    import msgspec

    _, rejects = decode_lines([msgspec.json.encode(event) for event in events], now=2_000_000_000_000)
    assert rejects == []


@pytest.fixture
def movielens(tmp_path: Path) -> Path:
    rows = [(1, 10, 4.0, 1000), (1, 11, 3.5, 2800), (1, 12, 5.0, 2801), (2, 12, 1.0, 900), (2, 10, 4.5, 900)]
    lines = "".join(f"{user},{movie},{rating},{time}\n" for user, movie, rating, time in rows)
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + lines)
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n10,"American President, The (1995)",Comedy|Drama\n'
        "11,Babylon 5,Sci-Fi\n12,X (1996),(no genres listed)\n13,Never rated (2000),War\n"
    )
    return tmp_path


def test_movielens_makes_lists_of_sittings_and_likes_of_high_ratings(movielens: Path) -> None:
    dataset = movielens_small(movielens)
    check_stream(dataset)
    events = all_events(dataset)
    as_accepted(events)
    shown = [(e.time, e.user, e.items) for e in events if isinstance(e, Impression)]
    assert shown == [(900_000, "2", ["12", "10"]), (1_000_000, "1", ["10", "11"]), (2_801_000, "1", ["12"])]
    lists = {e.id: e for e in events if isinstance(e, Impression)}
    likes = [e for e in events if isinstance(e, Interaction)]
    assert [(e.time, lists[e.impression].user, e.item, e.value) for e in likes] == [
        (900_000, "2", "10", 4.5),
        (1_000_000, "1", "10", 4.0),
        (2_801_000, "1", "12", 5.0),
    ]
    assert {e.action for e in likes} == {"like"}
    movies = {e.item: (e.time, e.features) for e in events if isinstance(e, ItemUpdate)}
    assert movies["10"] == (
        900_000,
        {"title": "American President, The", "genres": ["Comedy", "Drama"], "year": 1995},
    )
    assert movies["11"] == (1_000_000, {"title": "Babylon 5", "genres": ["Sci-Fi"], "year": None})
    assert movies["12"] == (900_000, {"title": "X", "genres": [], "year": 1996})
    assert movies["13"][0] == 900_000


def test_movielens_shows_a_movie_only_after_its_features(movielens: Path) -> None:
    known: set[str] = set()
    shown = 0
    for event in all_events(movielens_small(movielens)):
        if isinstance(event, ItemUpdate):
            known.add(event.item)
        elif isinstance(event, Impression):
            assert known.issuperset(event.items)
            shown += 1
    assert shown > 0


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4000)), min_size=1, max_size=80))
def test_sittings_are_as_long_as_the_rule_allows(rows: list[tuple[int, int]]) -> None:
    rows.sort()
    users, seconds = np.array(rows).T
    starts = [*sittings(users, seconds).tolist(), len(rows)]
    assert starts[0] == 0
    for first, end in pairwise(starts):
        assert 1 <= end - first <= MOST
        assert len(set(users[first:end])) == 1
        assert seconds[end - 1] - seconds[first] <= SITTING
        if end < len(rows):  # and not shorter
            assert users[end] != users[first] or seconds[end] - seconds[first] > SITTING or end - first == MOST


def test_titles_with_odd_years() -> None:
    assert movie_features("Fawlty Towers (1975-1979)", "Comedy")["year"] == 1975
    assert movie_features("2001: A Space Odyssey", "x") == {
        "title": "2001: A Space Odyssey", "genres": ["x"], "year": None,
    }  # fmt: skip


@pytest.mark.slow
def test_the_shipped_log_is_whole() -> None:
    dataset = movielens_small(ROOT / "examples" / "ml-latest-small")
    table = check_stream(dataset)
    assert dataset.card.counts == {
        "ratings": 100_004, "users": 671, "movies": 9_125, "impressions": 10_326, "likes": 51_568, "events": 71_019,
    }  # fmt: skip
    shown = table.filter(pa.compute.equal(table["kind"], 0))["items"]
    assert pa.compute.sum(pa.compute.list_value_length(shown)).as_py() == 100_004
    assert (ROOT / "examples" / "ml-latest-small" / "README.txt").read_text().count("redistribute") >= 1


def test_a_card_is_text(movielens: Path) -> None:
    card = movielens_small(movielens).card
    assert "5 ratings" in str(card)
    assert "1970-01-01 00:15:00 UTC" in str(card)
    assert card.to_dict()["counts"]["users"] == 2


@pytest.fixture
def small_ml1m(tmp_path: Path) -> Path:
    columns = {
        "user_id": [1, 1, 1, 2, 3],
        "movie_id": [10, 11, 10, 11, 10],
        "rating": [5, 1, 3, 2, 4],
        "timestamp": [100, None, 900, None, 300],
        "period": ["train80", "train80", "test10", "train80", "train80"],
        "ts_exact": [True, False, True, False, True],
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "ratings.parquet")
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117\n")
    (tmp_path / "movies.dat").write_bytes("10::Café (1995)::Drama\n11::B (1990)::War|Drama\n".encode("latin-1"))
    return tmp_path


def test_ml1m_ratings_as_grouplens_has_them(tmp_path: Path) -> None:
    lines = ["1::10::5::500", "1::11::1::100", "2::10::3::300", "2::11::2::200", "3::10::4::400"]
    (tmp_path / "ratings.dat").write_text("\n".join(lines))
    rows = ratings_of(tmp_path).to_pylist()
    assert ["::".join(str(row[name]) for name in row if name != "period") for row in rows] == lines
    assert [row["period"] == "train80" for row in rows] == [False, True, True, True, True]  # the last fifth by time


def test_ml1m_times_do_not_tell_the_label(small_ml1m: Path) -> None:
    dataset = ml1m(small_ml1m)
    check_stream(dataset)
    events = all_events(dataset)
    as_accepted(events)
    shown = {e.id: e for e in events if isinstance(e, Impression)}
    rated = [(e.time, shown[e.impression].user, e.item, e.value) for e in events if isinstance(e, Interaction)]
    assert rated == [
        (100_000, "1", "10", 5.0),
        (100_000, "1", "11", 1.0),  # unknown: the user's median
        (200_000, "2", "11", 2.0),  # no time known of this user: the median over users
        (300_000, "3", "10", 4.0),
        (900_000, "1", "10", 3.0),  # the stream: exact, and no part of the median
    ]
    assert all(shown[e.impression].time == e.time for e in events if isinstance(e, Interaction))
    updates = [e for e in events if isinstance(e, UserUpdate | ItemUpdate)]
    assert events[: len(updates)] == updates
    assert updates[0].features == {"gender": "F", "age": 1, "occupation": 10, "zip": "48067"}
    assert updates[3].features == {"title": "Café", "genres": ["Drama"], "year": 1995}


@pytest.mark.slow
@pytest.mark.shared_data
def test_ml1m_as_measured() -> None:
    dataset = ml1m(shared("ml-1m"))
    assert dataset.card.counts["in the batch part"] == 800_167
    table = pa.Table.from_batches(list(dataset))
    assert len(table) == 2 * 1_000_209 + 6_040 + 3_883
    stars = pa.compute.value_counts(table["value"].drop_null()).to_pylist()
    assert {row["values"]: row["counts"] for row in stars}[5.0] == 226_310


RATINGS: dict[str, list[Any]] = {
    "user_id": [1, 1],
    "movie_id": [1, 1],
    "rating": [5, 4],
    "timestamp": [978300760, 978300761],
    "period": ["train80", "test20"],
}


@pytest.mark.parametrize(
    ("ratings", "users", "said"),
    [
        (None, "", "there is no "),
        ({"a": [1]}, "", "user_id"),
        (RATINGS, "1::F", "not enough values"),
        (b"no Parquet", "", "arquet"),
    ],
    ids=["none", "columns", "users", "bytes"],
)
def test_other_files_are_not_those_of_a_data_set(
    tmp_path: Path, ratings: dict[str, list[Any]] | bytes | None, users: str, said: str
) -> None:
    if isinstance(ratings, bytes):
        (tmp_path / "ratings.parquet").write_bytes(ratings)
    elif ratings is not None:
        pa.parquet.write_table(pa.table(ratings), tmp_path / "ratings.parquet")
    (tmp_path / "users.dat").write_text(users)
    (tmp_path / "movies.dat").write_text("1::Toy (1995)::Comedy")
    for read in (ml1m, ml1m_autoint):
        with (
            pytest.raises(InvalidValueError, match=f"does not hold the data set ml-1m: .*{said}"),
            holding("ml-1m", tmp_path),
        ):
            read(tmp_path)
