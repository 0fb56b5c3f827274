"""The event time of a table, which one wrong time does not move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embedding.argument_checks import MINUTE

JUMP = 366 * 24 * 60 * MINUTE
"""A time this much (ms) after all earlier ones is doubted until the next call."""


class EventClock:
    """Event time as it may be used: a time more than a year ahead of all others must be confirmed.

    Until then the latest time is used instead, so that the ids of one event with a wrong date neither outlive all
    others nor expire them. The next call confirms it with another time less than a year away from it: a log may have a
    gap of years. The first time is not doubted.

    >>> clock = EventClock()
    >>> [clock.trusted(year * JUMP + 7) // JUMP for year in (50, 130, 50, 60, 60)]
    [50, 50, 50, 50, 50]
    >>> clock.trusted(60 * JUMP + 8) // JUMP
    60
    """

    def __init__(self) -> None:
        self._latest: int | None = None
        self._doubted: int | None = None

    def trusted(self, now: int) -> int:
        """`now`, or the latest time if `now` is too far ahead of it."""
        if self._latest is not None and now > self._latest + JUMP and not self._confirms(now):
            self._doubted = now
            return self._latest
        self._latest, self._doubted = max(now, self._latest or 0), None
        return now

    def _confirms(self, now: int) -> bool:
        return self._doubted is not None and 0 < abs(now - self._doubted) <= JUMP

    def restore(self, minutes_U: npt.NDArray[np.int64]) -> None:
        """Go on from the latest minute at which an id was seen."""
        self._latest, self._doubted = int(minutes_U.max()) * MINUTE if len(minutes_U) else None, None
