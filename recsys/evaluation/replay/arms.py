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
_SLICES = re.compile(r"\s*(\d+)\s+slices?\s*")


@dataclass(frozen=True, slots=True)
class ReplayArm:
    """A way of bringing trained weights to serving.

    `refreshes` are the event times (ms, rising) at which serving takes the trainer's weights. An impression is scored
    with those of the last refresh at or before it; refreshes that would score nothing are left out.
    """

    name: str
    refreshes: tuple[int, ...]

    def intervals(self, times_R: Times) -> npt.NDArray[np.int64]:
        """Number of the refresh interval of each row.

        >>> ReplayArm("online@10ms", (0, 10, 20)).intervals(np.array([0, 9, 10, 35])).tolist()
        [0, 0, 1, 2]
        """
        return np.searchsorted(np.asarray(self.refreshes, np.int64), times_R, "right") - 1


def frozen(start: int) -> ReplayArm:
    """The weights at the end of the batch stage, never refreshed."""
    return ReplayArm(FROZEN, (start,))


def online(refresh: str, start: int, times_R: Times) -> ReplayArm:
    """The arm of a refresh rule: an interval (`1h`), or a number of time slices with equally many rows (`50 slices`).

    `times_R` are the impression times of the rows to score, rising. Raises InvalidValueError for any other rule.

    >>> online("10ms", 0, np.array([0, 5, 25])).refreshes
    (0, 20)
    >>> online("2 slices", 0, np.array([3, 4, 7, 9])).refreshes
    (0, 7)
    """
    name = f"online@{' '.join(refresh.split())}"
    match = _SLICES.fullmatch(refresh)
    if match is not None:
        return ReplayArm(name, _equal_shares(int(match[1]), start, times_R))
    interval = milliseconds(refresh)
    if interval <= 0:
        raise InvalidValueError(f"a refresh interval must be positive, got {refresh!r}; try '1h'")
    return ReplayArm(name, tuple((start + np.unique((times_R - start) // interval) * interval).tolist()))


def check_refresh(refresh: str, name: str) -> None:
    """Raises InvalidValueError, which names the option or argument `name`, if `refresh` is not a rule of `online`."""
    try:
        online(refresh, 0, np.zeros(0, np.int64))
    except ValueError:
        raise InvalidValueError(
            f"{name}: {refresh!r} is neither a positive interval, such as '1h' (units ms, s, m, h, d), "
            "nor a number of time slices, such as '50 slices'"
        ) from None


def _equal_shares(count: int, start: int, times_R: Times) -> tuple[int, ...]:
    """Monolith, Algorithm 1: the stream cut into `count` time slices. Rows of one instant stay together."""
    if count < 1:
        raise InvalidValueError("a stream is cut into at least 1 time slice; try '50 slices'")
    if not len(times_R):
        return ()
    cuts = {int(times_R[len(times_R) * k // count]) for k in range(1, count)}
    return (start, *sorted(time for time in cuts if time > times_R[0]))


@dataclass(frozen=True, slots=True)
class Refresh:
    """A moment of the replay: train up to `time`, then score the rows that lie before `end`, for every arm due."""

    time: int
    due: tuple[tuple[int, int], ...]
    """Number of each arm that refreshes now, and the time of its next refresh (exclusive end of its rows)."""


def schedule(arms: Sequence[ReplayArm], end: int) -> list[Refresh]:
    """All refreshes of all arms in order of time; `end` closes the last of each.

    >>> [(s.time, s.due) for s in schedule([ReplayArm("a", (0,)), ReplayArm("b", (0, 5))], 9)]
    [(0, ((0, 9), (1, 5))), (5, ((1, 9),))]
    """
    due: dict[int, list[tuple[int, int]]] = {}
    for number, arm in enumerate(arms):
        for time, stop in zip(arm.refreshes, (*arm.refreshes[1:], end), strict=True):
            due.setdefault(time, []).append((number, stop))
    return [Refresh(time, tuple(due[time])) for time in sorted(due)]
