"""Ids of several tables to the processes that own them, and what belongs to them there and back, all tables at once.

Suffixes: N ids of a table of this process, M ids of a table that this process owns, T tables, R processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.sharding import HashBuckets
from embedding.store import Ids
from embedding.torchrec.processes.ranks import Array, Ranks

Counts = npt.NDArray[np.int64]


class TablesExchange:
    """The ways of one call's ids. Every method is collective, with the same tables in all processes.

    >>> import torch
    >>> one, other = np.array([5, 6, 5], np.uint64), np.array([7], np.uint64)
    >>> ways = TablesExchange([one, other], Ranks(None, torch.device("cpu")))
    >>> [ids.tolist() for ids in ways.to_owners([one, other])]
    [[5, 6, 5], [7]]
    """

    def __init__(self, ids: Sequence[Ids], ranks: Ranks) -> None:
        owners, self._ranks = HashBuckets(ranks.size, buckets=ranks.size), ranks
        owner_TN = [owners.owner(ids_N) for ids_N in ids]
        self._order_TN = [np.argsort(owner_N, kind="stable") for owner_N in owner_TN]
        counts = [np.bincount(owner_N, minlength=ranks.size) for owner_N in owner_TN]
        self._sent_RT: Counts = np.stack(counts, axis=1).astype(np.int64)
        each = np.full(ranks.size, len(ids))
        self._owned_RT: Counts = ranks.exchange(self._sent_RT.reshape(-1), each, each).reshape(ranks.size, -1)

    def to_owners(self, columns_TN: Sequence[Array]) -> list[Array]:
        """A column of each table's ids, to the owners: those of the first process come first."""
        ordered = [column[order_N] for column, order_N in zip(columns_TN, self._order_TN, strict=True)]
        return self._swapped(ordered, self._sent_RT, self._owned_RT)

    def from_owners(self, columns_TM: Sequence[Array]) -> list[Array]:
        """A column of what the owners have, in the order of `to_owners`, back to the places of the ids."""
        found = []
        for got, order_N in zip(self._swapped(columns_TM, self._owned_RT, self._sent_RT), self._order_TN, strict=True):
            column = np.empty_like(got)
            column[order_N] = got
            found.append(column)
        return found

    def _swapped(self, columns: Sequence[Array], sent_RT: Counts, got_RT: Counts) -> list[Array]:
        shapes = [column.shape[1:] for column in columns]
        widths_T = np.array([int(np.prod(shape)) for shape in shapes])
        cut = [np.split(column, np.cumsum(sent_R)[:-1]) for column, sent_R in zip(columns, sent_RT.T, strict=True)]
        flat = np.concatenate([parts[rank].reshape(-1) for rank in range(self._ranks.size) for parts in cut])
        got = self._ranks.exchange(flat, sent_RT @ widths_T, got_RT @ widths_T)
        ends = np.cumsum((got_RT * widths_T).reshape(-1))[:-1]
        pieces: list[Any] = np.split(got, ends)
        tables = len(columns)
        return [np.concatenate(pieces[t::tables]).reshape(-1, *shape) for t, shape in enumerate(shapes)]
