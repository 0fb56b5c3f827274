"""Coat (Schnabel et al., ICML 2016): ratings of coats that users chose to rate, and of coats drawn at random.

It is not part of this project: https://www.cs.cornell.edu/~schnabts/mnar/. Shape suffixes: U users, I items, F
features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError, file_errors

Ratings = npt.NDArray[np.int64]

FILES = ("train.ascii", "test.ascii", "user_features.ascii", "item_features.ascii")
WHERE = f"Coat is {', '.join(FILES)} in one folder, from https://www.cs.cornell.edu/~schnabts/mnar/"


@dataclass(frozen=True, slots=True, eq=False)
class Coat:
    """`chosen_UI` are ratings 1 to 5 of coats that the user chose, `random_UI` of coats drawn at random; 0: none."""

    chosen_UI: Ratings
    random_UI: Ratings
    user_features_UF: npt.NDArray[np.float64]
    item_features_IF: npt.NDArray[np.float64]


def coat(folder: Path | str) -> Coat:
    """Read the four `.ascii` files. Raises FileError, or InvalidValueError if their sizes do not agree."""
    folder = Path(folder)
    found = []
    for path in (folder / name for name in FILES):
        with file_errors(WHERE, path):
            text = path.read_text("ascii")
        try:
            found.append(np.array([line.split() for line in text.splitlines()], np.float64))
        except ValueError as error:
            raise InvalidValueError(f"{path} is not a table of numbers: {error}. {WHERE}") from None
    train, test, users, items = found
    if train.shape != test.shape or train.shape != (len(users), len(items)):
        raise InvalidValueError(
            f"{folder}: ratings of {train.shape} and {test.shape}, features of {len(users), len(items)}"
        )
    return Coat(train.astype(np.int64), test.astype(np.int64), users, items)
