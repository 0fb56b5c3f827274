"""Arms: the same model, served with weights of different age.

Shape suffixes: R rows to score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.config.units import milliseconds
from recsys.errors import InvalidValueError

Times = npt.NDArray[np.int64]

FROZEN = "frozen"
_SHARDS = re.compile(r"\s*(\d+)\s+shards?\s*")


@dataclass(frozen=True, slots=True)
class Arm:
    """A way of bringing trained weights to serving.

    `syncs` are the event times (ms, rising) at which serving takes the trainer's weights. An impression is scored with
    the weights of the last sync at or before it; syncs that would score nothing are left out.
    """

    name: str
    syncs: tuple[int, ...]

    def shards(self, times_R: Times) -> npt.NDArray[np.int64]:
        """Number of the sync whose weights score each row.

        >>> Arm("online@10ms", (0, 10, 20)).shards(np.array([0, 9, 10, 35])).tolist()
        [0, 0, 1, 2]
        """
        return np.searchsorted(np.asarray(self.syncs, np.int64), times_R, "right") - 1


def frozen(start: int) -> Arm:
    """The weights of the end of the batch stage, for ever."""
    return Arm(FROZEN, (start,))


def online(sync: str, start: int, times_R: Times) -> Arm:
    """The arm that a sync rule describes: an interval (`1h`), or a number of parts with equal rows (`50 shards`).

    `times_R` are the impression times of the rows to score, in order. Raises ValueError for anything else.

    >>> online("10ms", 0, np.array([0, 5, 25])).syncs
    (0, 20)
    >>> online("2 shards", 0, np.array([3, 4, 7, 9])).syncs
    (0, 7)
    """
    name = f"online@{' '.join(sync.split())}"
    match = _SHARDS.fullmatch(sync)
    if match is not None:
        return Arm(name, _equal_shares(int(match[1]), start, times_R))
    interval = milliseconds(sync)
    if interval <= 0:
        raise InvalidValueError(f"a sync interval must be longer than nothing, got {sync!r}; try '1h'")
    return Arm(name, tuple((start + np.unique((times_R - start) // interval) * interval).tolist()))


def check_sync(sync: str) -> None:
    """Raises ValueError with the option and a remedy when `sync` is no rule of `online`."""
    try:
        online(sync, 0, np.zeros(0, np.int64))
    except ValueError:
        raise InvalidValueError(
            f"--sync: {sync!r} is neither an interval longer than nothing, such as '1h' (units ms, s, m, h, d), "
            "nor a number of parts, such as '50 shards'"
        ) from None


def _equal_shares(count: int, start: int, times_R: Times) -> tuple[int, ...]:
    """Monolith, Algorithm 1: the stream cut chronologically into `count` shards. Rows of one instant stay together."""
    if count < 1:
        raise InvalidValueError("a stream is cut into at least 1 shard; try '50 shards'")
    if not len(times_R):
        return ()
    cuts = {int(times_R[len(times_R) * k // count]) for k in range(1, count)}
    return (start, *sorted(time for time in cuts if time > times_R[0]))


@dataclass(frozen=True, slots=True)
class Sync:
    """A moment of the replay: train up to `time`, then score the rows that lie before `end`, for every arm due."""

    time: int
    due: tuple[tuple[int, int], ...]
    """Number of each arm that syncs now, and the time of its next sync (exclusive end of its rows)."""


def schedule(arms: Sequence[Arm], end: int) -> list[Sync]:
    """All syncs of all arms in order of time; `end` closes the last of each.

    >>> [(s.time, s.due) for s in schedule([Arm("a", (0,)), Arm("b", (0, 5))], 9)]
    [(0, ((0, 9), (1, 5))), (5, ((1, 9),))]
    """
    due: dict[int, list[tuple[int, int]]] = {}
    for number, arm in enumerate(arms):
        for time, stop in zip(arm.syncs, (*arm.syncs[1:], end), strict=True):
            due.setdefault(time, []).append((number, stop))
    return [Sync(time, tuple(due[time])) for time in sorted(due)]
