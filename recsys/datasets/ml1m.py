"""MovieLens 1M, read from the files `ratings.dat` (or `ratings.parquet`), `users.dat`, `movies.dat`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recsys.datasets.card import Card, Dataset
from recsys.datasets.event_batches import Ints, batches, in_time_order, json_features, lists, strings, table
from recsys.datasets.movielens import movie_features


def ml1m(folder: Path | str) -> Dataset:
    """One impression of one item per rating, and an interaction `rate` (value: 1 to 5) at the same time.

    The stream (the last 20 % of ratings) has its exact times. In the batch part before it only the times of low
    ratings are missing, so a known time would reveal the label. There, each row gets its user's median known time.
    """
    folder = Path(folder)
    ratings = ratings_of(folder)
    users, movies, stars = (ratings[name].to_numpy() for name in ("user_id", "movie_id", "rating"))
    in_batch = pa.compute.equal(ratings["period"], "train80").to_numpy()
    times = event_times(users, ratings["timestamp"].to_numpy(zero_copy_only=False), in_batch) * 1000
    order = np.lexsort((np.arange(len(users)), times))
    users, movies, stars, times = users[order], movies[order], stars[order], times[order]
    rows = np.arange(len(users))
    shown = table(
        "impression",
        id=strings(rows, "r"),
        time=times,
        user=strings(users),
        items=lists(strings(movies), np.ones(len(rows), np.int64)),
    )
    rated = table(
        "interaction",
        id=strings(rows, "v"),
        time=times,
        impression=shown["id"],
        item=strings(movies),
        action="rate",
        value=stars.astype(np.float64),
    )
    people = _updates("user", _users(folder / "users.dat"), int(times[0]))
    catalog = _updates("item", _movies(folder / "movies.dat"), int(times[0]))
    events = in_time_order(people, catalog, shown, rated)
    card = Card(
        name="MovieLens 1M",
        what="ratings of movies by users of movielens.org (GroupLens), with features of both",
        made=(
            "impression: one item per rating, at the rating's time; the log has no lists",
            "interaction: `rate` with the rating as value, at the same time",
            "time: exact in the stream, the last 20 % of ratings; in the batch part every rating of a user has the "
            "median of the times known there, because only times of low ratings are missing and would tell the label; "
            "users with none get the median over all users",
            "user and item updates: all at the time of the first event, which the log does not know",
        ),
        counts={
            "ratings": len(rows),
            "in the batch part": int(in_batch.sum()),
            "users": len(people),
            "movies": len(catalog),
            "events": len(events),
        },
        start=int(times[0]),
        end=int(times[-1]),
        licence="GroupLens: research use, no redistribution without permission",
    )
    return Dataset(card, lambda: batches(events))


def ratings_of(folder: Path) -> pa.Table:
    """Columns `user_id`, `movie_id`, `rating`, `timestamp` (s) and `period`: the first 80 % by time are `train80`.

    From `ratings.parquet`, which has them so, else from GroupLens' `ratings.dat`, whose times are all known.
    Raises FileNotFoundError where there is neither, which `holding` tells.
    """
    if (parquet := folder / "ratings.parquet").exists():
        return pa.parquet.read_table(parquet)
    if not (path := folder / "ratings.dat").exists():
        raise FileNotFoundError(
            "ratings.dat or ratings.parquet in it: unpack ml-1m.zip of https://grouplens.org/datasets/movielens/1m/ "
            "and give the folder with ratings.dat, users.dat and movies.dat"
        )
    names = ["user_id", "movie_id", "rating", "timestamp"]
    source = pa.BufferReader(path.read_bytes().replace(b"::", b","))
    ratings = pa.csv.read_csv(
        source,
        pa.csv.ReadOptions(column_names=names),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.int64())),
    )
    order = np.argsort(ratings["timestamp"].to_numpy(), kind="stable")
    period = np.full(len(ratings), "train80")
    period[order[len(ratings) * 4 // 5 :]] = "test20"
    return ratings.append_column("period", pa.array(period))


def event_times(users: Ints, seconds: Any, in_batch: Any) -> Ints:
    """Seconds of each row: exact outside the batch part, else the median known time of the user in the batch part.

    >>> event_times(np.array([1, 1, 1, 2]), np.array([10.0, np.nan, 99.0, np.nan]), np.array([True, True, False, True]))
    array([10, 10, 99, 10])
    """
    known = in_batch & ~np.isnan(seconds)
    medians = np.full(int(users.max()) + 1, np.nan)
    order = np.argsort(users[known], kind="stable")
    found, starts = np.unique(users[known][order], return_index=True)
    medians[found] = [np.median(group) for group in np.split(seconds[known][order], starts[1:])]
    medians[np.isnan(medians)] = np.nanmedian(medians)
    return np.where(in_batch, medians[users], seconds).astype(np.int64)


def lines(path: Path) -> list[list[str]]:
    """The columns of each line of a `.dat` file."""
    return [line.split("::") for line in path.read_text(encoding="latin-1").splitlines()]


def _users(path: Path) -> dict[str, dict[str, Any]]:
    return {
        user: {"gender": gender, "age": int(age), "occupation": int(occupation), "zip": zip_}
        for user, gender, age, occupation, zip_ in lines(path)
    }


def _movies(path: Path) -> dict[str, dict[str, Any]]:
    return {movie: movie_features(title, genres) for movie, title, genres in lines(path)}


def _updates(kind: str, features: dict[str, dict[str, Any]], time: int) -> pa.Table:
    names = pa.array(list(features))
    return table(
        kind,
        id=pa.compute.binary_join_element_wise(kind, names, "-"),
        time=np.full(len(features), time),
        features=json_features(list(features.values())),
        **{kind: names},
    )
