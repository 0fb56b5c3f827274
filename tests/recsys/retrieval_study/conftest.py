"""A small world of films: two tastes, and files as MovieLens 1M has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.datasets.ml1m_by_time import RatedItems, ml1m_by_time

USERS, FILMS = 60, 40
GENRES = ("Drama", "Comedy|War", "War", "(no genres listed)")


@pytest.fixture(scope="session")
def film_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users rate films of their taste 5, others 2; the last film has no rating before the split.

    The time is the place in the user's order, and missing of low ratings before the split.
    """
    folder, rng = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    rows = []
    for user in range(1, USERS + 1):
        for n, film in enumerate(rng.permutation(FILMS)[:20] + 1):
            period = "train80" if n < 14 and film != FILMS else "test10"
            stars = 5 if film % 2 == user % 2 else 2
            rows.append((user, film, stars, period, None if stars == 2 and period == "train80" else n))
    ratings = pd.DataFrame(rows, columns=["user_id", "movie_id", "rating", "period", "timestamp"])
    ratings = ratings.astype({"timestamp": "Int64"})
    ratings.to_parquet(folder / "ratings.parquet")
    lines = [f"{film}::Film {film} (1990)::{GENRES[film % 4]}" for film in range(1, FILMS + 1)]
    (folder / "movies.dat").write_text("\n".join(lines), "latin-1")
    people = [f"{user}::{'MF'[user % 2]}::{25}::{user % 5}::12345" for user in range(1, USERS + 1)]
    (folder / "users.dat").write_text("\n".join(people), "latin-1")
    return folder


@pytest.fixture(scope="session")
def earlier(film_folder: Path) -> RatedItems:
    """What is known in the validation period."""
    return ml1m_by_time(film_folder, validation=True)


@pytest.fixture(scope="session")
def rated(film_folder: Path) -> RatedItems:
    return ml1m_by_time(film_folder)
