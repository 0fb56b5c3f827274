"""MovieLens 1M for retrieval: what users liked in the first 80 % of ratings by time, and what they liked afterwards.

Shape suffixes: R ratings, U users, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.datasets.ml1m import event_times, lines, ratings_of
from recsys.datasets.movielens import movie_features

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
LIKED = 4
"""A rating of this or more is a positive."""
HELD_OUT = 0.125
"""The share of ratings before the split that settings are chosen by: a tenth of all."""


@dataclass(frozen=True, slots=True, eq=False)
class RatedItems:
    """Items are those with a rating before the split; `later_UI` are positives after it, of items not rated before."""

    rated_UI: Bools
    liked_UI: Bools
    later_UI: Bools
    users: list[str]
    people: list[dict[str, Any]]
    """Gender, age and occupation of each user."""
    items: list[str]
    films: list[dict[str, Any]]
    """Genres, year and decade of each item."""

    @property
    def genres(self) -> list[list[str]]:
        """Of each item."""
        return [film["genres"] for film in self.films]


def ml1m_by_time(folder: Path | str, *, validation: bool = False) -> RatedItems:
    """From the ratings (`ratings_of`), whose `period` says what the first 80 % are, `users.dat` and `movies.dat`.

    For `validation` the last `HELD_OUT` of these 80 % are what comes afterwards, and later ratings are not read.
    """
    folder = Path(folder)
    ratings = ratings_of(folder)
    if validation:
        ratings = ratings.filter(pa.compute.equal(ratings["period"], "train80"))
    users_R, movies_R, stars_R = (ratings[name].to_numpy() for name in ("user_id", "movie_id", "rating"))
    before_R = _early(users_R, ratings) if validation else pa.compute.equal(ratings["period"], "train80").to_numpy()
    users, rows_R = np.unique(users_R, return_inverse=True)
    items = np.unique(movies_R[before_R])
    columns_R = np.minimum(np.searchsorted(items, movies_R), len(items) - 1)
    known_R, liked_R = items[columns_R] == movies_R, stars_R >= LIKED
    kinds = before_R, before_R & liked_R, ~before_R & liked_R & known_R
    rated_UI, liked_UI, later_UI = (np.zeros((len(users), len(items)), np.bool_) for _ in kinds)
    for matrix_UI, chosen_R in zip((rated_UI, liked_UI, later_UI), kinds, strict=True):
        matrix_UI[rows_R[chosen_R], columns_R[chosen_R]] = True
    people = {
        user: {"gender": gender, "age": int(age), "occupation": int(occupation)}
        for user, gender, age, occupation, _ in lines(folder / "users.dat")
    }
    films = {movie: _film(title, genres) for movie, title, genres in lines(folder / "movies.dat")}
    user_names, names = ([str(one) for one in ids.tolist()] for ids in (users, items))
    return RatedItems(
        rated_UI,
        liked_UI,
        later_UI & ~rated_UI,
        user_names,
        [people.get(name, {}) for name in user_names],
        names,
        [films.get(name, {"genres": []}) for name in names],
    )


def _early(users_R: Ints, ratings: pa.Table) -> Bools:
    """All but the last `HELD_OUT` by time. Of low ratings, whose times are missing, the user's median known time."""
    seconds_R = ratings["timestamp"].to_numpy(zero_copy_only=False).astype(np.float64)
    usual_R = event_times(users_R, seconds_R, np.ones(len(users_R), np.bool_))
    times_R = np.where(np.isnan(seconds_R), usual_R, seconds_R)
    return np.asarray(times_R <= np.quantile(times_R, 1 - HELD_OUT), np.bool_)


def _film(title: str, genres: str) -> dict[str, Any]:
    found = movie_features(title, genres)
    year = found["year"]
    return {"genres": found["genres"], "year": year, "decade": None if year is None else year // 10}
