"""MovieLens 1M as AutoInt's paper has it (Song et al., CIKM 2019, section 5.1 and the published code).

Ratings above 3 are positive, below 3 negative, those of 3 are left out: 739,012 rows. Seven fields: gender, age,
occupation, zip code, year of release (decades up to 1969, then years), genres, and the time of the rating. There is no
user and no movie. The times of low ratings are missing in our copy, so that all rows have their user's median of the
known times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.datasets.event_batches import in_time_order, json_features, lists, strings, table
from recsys.datasets.ml1m import event_times, lines, ratings_of
from recsys.datasets.movielens import movie_features

FIELDS = """
[[features.fields]]
name = "gender"
source = "request.gender"
[[features.fields]]
name = "age"
source = "request.age"
[[features.fields]]
name = "occupation"
source = "request.occupation"
[[features.fields]]
name = "zip"
source = "request.zip"
[[features.fields]]
name = "time"
kind = "numeric"
source = "request.time"
[[features.fields]]
name = "year"
source = "item.year"
[[features.fields]]
name = "genres"
kind = "multi"
source = "item.genres"
"""
_YEARS = 1970
"""From this year on each is a value of its own; before, each decade."""


def ml1m_autoint(folder: Path) -> pa.Table:
    """One impression a row, and an interaction `like` for each positive one, from the files that `ml1m` reads too."""
    ratings = ratings_of(folder)
    users, movies, stars = (ratings[name].to_numpy() for name in ("user_id", "movie_id", "rating"))
    seconds = ratings["timestamp"].to_numpy(zero_copy_only=False).astype(np.float64)
    times = event_times(users, seconds, np.ones(len(users), np.bool_))
    kept = np.flatnonzero(stars != 3)
    users, movies, stars, times = users[kept], movies[kept], stars[kept], times[kept]
    people = {
        user: {"gender": g, "age": a, "occupation": o, "zip": z} for user, g, a, o, z in lines(folder / "users.dat")
    }
    features = [people[user] | {"time": time} for user, time in zip(map(str, users), times.tolist(), strict=True)]
    shown = table(
        "impression",
        id=strings(np.arange(len(users)), "r"),
        time=times * 1000,
        user=strings(users),
        items=lists(strings(movies), np.ones(len(users), np.int64)),
        features=json_features(features),
    )
    liked = np.flatnonzero(stars > 3)
    likes = table(
        "interaction",
        id=strings(liked, "v"),
        time=times[liked] * 1000,
        impression=shown["id"].take(pa.array(liked)),
        item=strings(movies[liked]),
        action="like",
    )
    return in_time_order(_catalog(folder, int(times.min()) * 1000), shown, likes)


def _catalog(folder: Path, time: int) -> pa.Table:
    movies = {movie: _buckets(movie_features(title, genres)) for movie, title, genres in lines(folder / "movies.dat")}
    names = pa.array(list(movies))
    ids = pa.compute.binary_join_element_wise("m", names, "")
    features = json_features(list(movies.values()))
    return table("item", id=ids, time=np.full(len(movies), time), item=names, features=features)


def _buckets(features: dict[str, Any]) -> dict[str, Any]:
    year = features["year"]
    return {"genres": features["genres"], "year": str(year if year is None or year >= _YEARS else year // 10 * 10)}
