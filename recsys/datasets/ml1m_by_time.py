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
import pyarrow.parquet

from recsys.datasets.ml1m import lines
from recsys.datasets.movielens import movie_features

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
LIKED = 4
"""A rating of this or more is a positive."""


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


def ml1m_by_time(folder: Path | str) -> RatedItems:
    """From `ratings.parquet`, whose column `period` says what the first 80 % are, `users.dat` and `movies.dat`."""
    folder = Path(folder)
    ratings = pa.parquet.read_table(folder / "ratings.parquet")
    users_R, movies_R, stars_R = (ratings[name].to_numpy() for name in ("user_id", "movie_id", "rating"))
    before_R = pa.compute.equal(ratings["period"], "train80").to_numpy()
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


def _film(title: str, genres: str) -> dict[str, Any]:
    found = movie_features(title, genres)
    year = found["year"]
    return {"genres": found["genres"], "year": year, "decade": None if year is None else year // 10}
