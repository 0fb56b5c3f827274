"""Items that were not clicked, for logs that have clicks only: pairs of clicks, by a rule that does not tell the label.

Shape suffixes: N clicks, P pairs of them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

ROUNDS: Final = 64
"""Rounds of pairing. The largest published log needs 8; the limit bounds the time on any other."""
Rows = npt.NDArray[np.int64]


def draw_pairs(times: Rows, users: npt.NDArray[Any], items: npt.NDArray[Any], window: int, seed: list[int]) -> Rows:
    """Rows of clicks that are used, and of those whose item is shown beside them, [P, 2].

    Clicks of different users on different items are paired, each click once, neighbours in time first and none more
    than `window` ms apart. A fair coin decides which click of a pair is used; the other one only lends its item.
    So an item is shown as often as it was clicked, and each label is an independent fair coin: how often, since when
    and with which labels the item was shown before does not predict it.

    `times` (ms) must be in ascending order.
    """
    pairs_P2 = pair_neighbours(times, users, items, window)
    coins_P = np.random.default_rng(seed).random(len(times))[pairs_P2[:, 0]] < 0.5
    used_P2: Rows = np.where(coins_P[:, None], pairs_P2, pairs_P2[:, ::-1])
    return used_P2


def pair_neighbours(times: Rows, users: npt.NDArray[Any], items: npt.NDArray[Any], window: int) -> Rows:
    """Rows of clicks that may be shown together, earlier one first, [P, 2]; each row is in one pair at most.

    Each round pairs neighbours among the rows that are left. Odd rounds begin one row later; otherwise the same two
    rows would meet again and again.

    >>> pair_neighbours(np.zeros(4, np.int64), np.arange(4), np.array([7, 7, 8, 8]), 0).tolist()
    [[1, 2], [0, 3]]
    """
    left = np.arange(len(times))
    pairs = [np.empty((0, 2), np.int64)]
    for turn in range(ROUNDS):
        candidates = left[turn % 2 :]
        neighbours = candidates[: len(candidates) // 2 * 2].reshape(-1, 2)
        one, other = neighbours.T
        fits = (items[one] != items[other]) & (users[one] != users[other]) & (times[other] - times[one] <= window)
        pairs.append(neighbours[fits])
        left = np.setdiff1d(left, pairs[-1], assume_unique=True)
    return np.concatenate(pairs)
