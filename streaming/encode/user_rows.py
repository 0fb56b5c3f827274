"""What of the encoded world is a user's: the ids of embedding rows, and training rows.

Shape suffixes: U users, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from streaming.encode.batch import TrainingRows
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.value_forms import Hashes

Rows = TypeVar("Rows", bound=TrainingRows)


def user_ids(spec: FeatureSpec, users: Sequence[str]) -> dict[str, npt.NDArray[np.uint64]]:
    """The ids [U] of these users, by table: of the fields that read the user's name (source `user`).

    >>> from streaming.encode.feature_spec import Field
    >>> spec = FeatureSpec.of([Field("who", "categorical", "user"), Field("what", "categorical", "item")])
    >>> {table: len(ids_U) for table, ids_U in user_ids(spec, ["u1", "u2"]).items()}
    {'who': 2}
    """
    tables = {field.table: Hashes(field.table, len(users) + 1) for field in spec.sparse if field.source == "user"}
    return {table: np.array([ids[user] for user in users], np.uint64) for table, ids in tables.items()}


def without_users(rows: Rows, spec: FeatureSpec, users: Sequence[str]) -> Rows:
    """The rows of others. Where no field reads the user's name, rows say of nobody whose they are, and all stay."""
    own = user_ids(spec, users)
    kept_B = np.ones(len(rows), np.bool_)
    for field in spec.sparse:
        if field.source == "user":
            kept_B &= ~np.isin(rows.ids[field.name].values, own[field.table])
    return rows if kept_B.all() else rows.take(np.flatnonzero(kept_B))
