"""The lists of a replay that were drawn at random, whole: other orders of them can be judged.

Shape suffixes: R rows of the first task, T tasks, L lists, K positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.off_policy.estimates import CERTAIN, DrawnLists
from streaming.encode.row_keys import impression_numbers

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ListsOfReplay:
    """Lists by length, with the numbers [L, K] of their rows among those of the first task."""

    by_length: tuple[tuple[Places, DrawnLists], ...]
    cut_short: int
    """Drawn lists that do not show all candidates: the log does not say what else could have been drawn."""
    incomplete: int
    """Drawn lists of which not every row was scored for every task."""

    @property
    def count(self) -> int:
        return sum(len(places_LK) for places_LK, _ in self.by_length)


def drawn_lists(rows: ScoredRows, user_field: str | None, usable_R: npt.NDArray[np.bool_]) -> ListsOfReplay:
    """Of the rows of one task. `user_field` names the field with the user's id; without it, every list is a unit.

    A list with a row that is not usable is incomplete. One shows all candidates if its last item was certain: by then
    it was the only one left.
    """
    every = rows.slice(0, len(rows))
    numbers_R = impression_numbers(every.keys_B)
    users_R = every.ids[user_field].values if user_field else numbers_R.view(np.uint64)
    cut_short = incomplete = 0
    found = []
    for places_LK in _by_length(numbers_R, every.positions_B):
        p_LK = every.propensities_B[places_LK].astype(np.float64)
        drawn_L = p_LK.min(1) < CERTAIN
        whole_L = (every.positions_B[places_LK] == np.arange(places_LK.shape[1])).all(1)
        whole_L &= usable_R[places_LK].all(1)
        last_L = p_LK[:, -1] >= CERTAIN
        incomplete += int((drawn_L & ~whole_L).sum())
        cut_short += int((drawn_L & whole_L & ~last_L).sum())
        kept_LK = places_LK[drawn_L & whole_L & last_L]
        if len(kept_LK):
            labels_LK = rows.labels_R[kept_LK].astype(np.float64)
            lists = DrawnLists(every.propensities_B[kept_LK].astype(np.float64), labels_LK, users_R[kept_LK[:, 0]])
            found.append((kept_LK, lists))
    return ListsOfReplay(tuple(found), cut_short, incomplete)


def _by_length(numbers_R: npt.NDArray[np.int64], positions_R: npt.NDArray[np.int32]) -> Iterator[npt.NDArray[np.int64]]:
    """Row numbers [L, K] of the impressions with K rows, by position, for each K there is."""
    order_R = np.lexsort((positions_R, numbers_R))
    _, starts_I, lengths_I = np.unique(numbers_R[order_R], return_index=True, return_counts=True)
    for length in np.unique(lengths_I):
        yield order_R[starts_I[lengths_I == length][:, None] + np.arange(length)]
