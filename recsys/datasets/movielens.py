"""MovieLens (ml-latest-small), the log that ships with the project. The ratings of one sitting form one list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from recsys.datasets.card import Card, Dataset
from recsys.datasets.event_batches import Ints, batches, in_time_order, json_features, lists, strings, table

SITTING = 30 * 60
MOST = 20
LIKED = 4.0


def movielens_small(folder: Path | str) -> Dataset:
    """Read `ratings.csv` and `movies.csv` in `folder`.

    A user's ratings within 30 minutes of the first one, at most 20, are one impression at the time of the first, its
    items in the order of rating. A rating of 4 or more is an interaction `like` (value: the rating) at its own time.
    """
    ratings = pa.csv.read_csv(Path(folder) / "ratings.csv")
    columns = {name: ratings[name].to_numpy() for name in ratings.column_names}
    order = np.lexsort((np.arange(len(ratings)), columns["timestamp"], columns["userId"]))
    users, movies, stars, seconds = (columns[name][order] for name in ("userId", "movieId", "rating", "timestamp"))
    starts = sittings(users, seconds)
    lengths = np.diff(np.append(starts, len(users)))
    impression = strings(np.repeat(np.arange(len(starts)), lengths), "ml-")
    items = strings(movies)
    shown = table(
        "impression",
        id=strings(np.arange(len(starts)), "ml-"),
        time=seconds[starts] * 1000,
        user=strings(users[starts]),
        items=lists(items, lengths),
    )
    liked = np.flatnonzero(stars >= LIKED)
    likes = table(
        "interaction",
        id=strings(liked, "ml-like-"),
        time=seconds[liked] * 1000,
        impression=impression.take(pa.array(liked)),
        item=items.take(pa.array(liked)),
        action="like",
        value=stars[liked],
    )
    shown_at = np.repeat(seconds[starts], lengths)
    by_time = np.argsort(-shown_at, kind="stable")  # the earliest time is written last, so it is kept
    first_shown = dict(zip(movies[by_time].tolist(), shown_at[by_time].tolist(), strict=True))
    catalog = _catalog(Path(folder) / "movies.csv", first_shown, int(seconds.min()))
    events = in_time_order(catalog, shown, likes)
    card = Card(
        name="MovieLens ml-latest-small",
        what="ratings of movies by users of movielens.org (GroupLens), with titles, genres and years of the movies",
        made=(
            "impression: a user's ratings within 30 minutes of the first, at most 20, at the time of the first; the "
            "log does not say what a user saw and did not rate",
            "interaction: `like` for a rating of 4 and more, at the time of the rating, value = the rating",
            "item update: every movie just before its first impression; movies nobody rated come first of all",
        ),
        counts={
            "ratings": len(users),
            "users": len(np.unique(users)),
            "movies": len(catalog),
            "impressions": len(shown),
            "likes": len(likes),
            "events": len(events),
        },
        start=int(seconds.min()) * 1000,
        end=int(seconds.max()) * 1000,
        licence="see README.txt beside the data: research use, same terms on redistribution, no commercial use",
    )
    return Dataset(card, lambda: batches(events))


def sittings(users: Ints, seconds: Ints) -> Ints:
    """The first row of each list, for rows sorted by user and time.

    >>> sittings(np.array([1, 1, 1, 2]), np.array([0, 1800, 1801, 1801])).tolist()
    [0, 2, 3]
    """
    starts: list[int] = []
    user = first = count = -1
    for i, (one, now) in enumerate(zip(users.tolist(), seconds.tolist(), strict=True)):
        if one != user or now - first > SITTING or count == MOST:
            starts.append(i)
            user, first, count = one, now, 0
        count += 1
    return np.array(starts, np.int64)


def movie_features(title: str, genres: str) -> dict[str, Any]:
    """Title, genres, and the year in brackets at the end of the title (None if there is none).

    >>> movie_features("Toy Story (1995)", "Comedy|Fantasy")
    {'title': 'Toy Story', 'genres': ['Comedy', 'Fantasy'], 'year': 1995}
    """
    match = re.fullmatch(r"(.*?)\s*\((\d{4})(?:[-\u2013]\d{0,4})?\)\s*", title)
    name, year = (match[1], int(match[2])) if match else (title.strip(), None)
    return {"title": name, "genres": [] if genres.startswith("(") else genres.split("|"), "year": year}


def _catalog(path: Path, first_shown: dict[int, int], begin: int) -> pa.Table:
    movies = pa.csv.read_csv(path).to_pylist()
    return table(
        "item",
        id=strings([movie["movieId"] for movie in movies], "ml-movie-"),
        time=np.array([first_shown.get(movie["movieId"], begin) for movie in movies]) * 1000,
        item=strings([movie["movieId"] for movie in movies]),
        features=json_features([movie_features(movie["title"], movie["genres"]) for movie in movies]),
    )
