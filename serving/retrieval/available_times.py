"""Since when and until when an item can be recommended."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streaming.events.schema import Features


@dataclass(frozen=True, slots=True)
class AvailableTimes:
    """The names of features that hold an item's first moment, and the first one after it; empty: no such bound.

    They are event times in ms. An item without one of them is not bounded by it.

    >>> sale = AvailableTimes("starts", "ends")
    >>> [sale.at(time, {"starts": 10, "ends": 20}) for time in (9, 10, 19, 20)]
    [False, True, True, False]
    >>> sale.at(9, {"ends": 20}), AvailableTimes().at(9, {"starts": 10})
    (True, True)
    """

    since: str = ""
    until: str = ""

    @property
    def bounded(self) -> bool:
        return bool(self.since or self.until)

    def at(self, time: int, features: Features) -> bool:
        """Whether an item with these features can be recommended at this event time."""
        return _time(features, self.since, -math.inf) <= time < _time(features, self.until, math.inf)


def _time(features: Features, name: str, unbounded: float) -> float:
    found = features.get(name) if name else None
    return found if isinstance(found, int | float) and not isinstance(found, bool) else unbounded


ALWAYS = AvailableTimes()
