"""Snapshots that have the values of only those rows that changed since another snapshot, on which they build.

An increment has all ids of a table with when and how often they were seen, and the values of the rows that changed;
those of the others are in the snapshots before it, back to a full one. Its manifest names the snapshot before it by
folder and by the hash of that one's manifest, which has the checksums of its files.

Suffixes: U ids of a table, P ids with values in one snapshot, D dimension, W floats of optimizer state.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedding.mapped_arrays import mapped_zeros
from embedding.store import Floats, Ids
from embedding.table_state import TableState
from recsys.errors import TornCheckpointError

ID_BYTES = 8 + 8 + 1
"""What a snapshot has of an id beside its values: the id, when it was seen last, how often."""
_PART = 1 << 13


@dataclass(frozen=True, slots=True)
class Increments:
    """Leave to write an increment: on the snapshot in `base`, if there is one, and at most `most` in a row.

    It is used if `base` is the last snapshot that the store has written, and if the increment, with those that it
    builds on, is smaller than a full snapshot.

    >>> import tempfile
    >>> from embedding.local.store import LocalStore
    >>> from embedding.snapshot.snapshot_manifest import chain
    >>> from embedding.store import Table
    >>> store = LocalStore([Table("item", dim=4)])
    >>> _ = store.lookup("item", np.arange(100, dtype=np.uint64), now=0)
    >>> with tempfile.TemporaryDirectory() as place:
    ...     full, following = Path(place) / "full", Path(place) / "following"
    ...     store.save_in_background(full, increments=Increments(None, most=3)).result()
    ...     _ = store.lookup("item", np.array([7], np.uint64), now=60_000)
    ...     store.save_in_background(following, increments=Increments(full, most=3)).result()
    ...     chain(following) == [full]
    True
    """

    base: Path | None
    most: int


@dataclass(frozen=True, slots=True)
class Base:
    """The snapshot that an increment builds on, as the increment's manifest names it.

    >>> Base(place_from(Path("s/step-2"), Path("s/step-1")), manifest="3f2a", increments=1, added=85).folder
    '../step-1'
    """

    folder: str
    """As a path from the increment's own folder."""
    manifest: str
    """The hash of its manifest."""
    increments: int
    """How many increments there are since the full snapshot, the one that builds on it included."""
    added: int
    """The bytes of their tables."""


def size(rows: int, values: int, dim: int, width: int) -> int:
    """Bytes of a table of `rows` ids with the values of `values` of them."""
    return rows * ID_BYTES + values * 4 * (dim + width)


def place_from(folder: Path, base: Path) -> str:
    """The path of `base` from `folder`; both may move together."""
    return os.path.relpath(base, folder)


@dataclass(frozen=True, slots=True)
class SavedRows:
    """The ids whose values one snapshot has.

    >>> SavedRows(np.array([7], np.uint64), np.ones((1, 4), np.float32), np.zeros((1, 1), np.float32)).ids_P.tolist()
    [7]
    """

    ids_P: Ids
    weights_PD: Floats
    state_PW: Floats


def completed(newest: TableState, older: Sequence[SavedRows], folder: Path) -> TableState:
    """The table of an increment with all its values, which `older` ones have where it has none, the youngest first.

    The first of `older` are the values of the increment itself. The whole values are in files of `folder` without a
    name, so that the system need not keep them in memory. Raises TornCheckpointError if none has the values of an id,
    FileError if there is no room for the files.
    """
    rows = len(newest.ids_U)
    weights_UD = _mapped(folder, rows, older[0].weights_PD.shape[1])
    state_UW = _mapped(folder, rows, older[0].state_PW.shape[1])
    missing = np.arange(rows)
    for saved in older:
        missing = _fill(newest.ids_U, missing, saved, weights_UD, state_UW)
    if len(missing):
        raise TornCheckpointError(f"{folder}: no snapshot that it builds on has row {newest.ids_U[missing[0]]}")
    return newest.holding([newest.ids_U, newest.seen_U, newest.freq_U, weights_UD, state_UW])


def _fill(ids_U: Ids, missing: Any, saved: SavedRows, weights_UD: Floats, state_UW: Floats) -> Any:
    """Copy what `saved` has of the ids at the positions `missing`; returns those that it has not."""
    if not len(saved.ids_P) or not len(missing):
        return missing
    order = np.argsort(saved.ids_P)
    at = np.minimum(np.searchsorted(saved.ids_P, ids_U[missing], sorter=order), len(order) - 1)
    found = saved.ids_P[order[at]] == ids_U[missing]
    into, out = missing[found], order[at[found]]
    for begin in range(0, len(into), _PART):
        part = slice(begin, begin + _PART)
        weights_UD[into[part]] = saved.weights_PD[out[part]]
        state_UW[into[part]] = saved.state_PW[out[part]]
    return missing[~found]


def _mapped(folder: Path, rows: int, width: int) -> Floats:
    values: Floats = mapped_zeros(folder, rows * width, np.float32, "the folder of a checkpoint that is loaded")
    return values.reshape(rows, width)
