"""How simulated users behave, apart from what they like."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from recsys.errors import InvalidValueError
from recsys.simulation.user_model import DAY, Floats


@dataclass(frozen=True, slots=True)
class Habits:
    """A user looks at position k (from 0) of a list with the chance 1 / (k + 1)^`position`, and clicks on what is
    looked at with the chance that the user model gives.

    A click comes after an exponential delay of `delay` seconds in the mean. Users come `visits` times a day in the
    mean; c clicks on a list make the wait for the next visit 1 + `loyalty` c times shorter. Lists have `shown` items.
    """

    shown: int = 10
    visits: float = 8.0
    position: float = 0.7
    delay: float = 60.0
    loyalty: float = 0.2

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (np.isfinite(value) and value >= 0) or (one.name in ("shown", "visits") and value <= 0):
                raise InvalidValueError(f"{one.name} is {value}; it must be a number of 0 or more, of visits above 0")

    def looks(self, items: int) -> Floats:
        """The chance that each position is looked at.

        >>> Habits(position=1.0).looks(3).round(2)
        array([1.  , 0.5 , 0.33])
        """
        return np.asarray(np.arange(1, items + 1, dtype=np.float64) ** -self.position)

    def wait(self, clicks: int, rng: np.random.Generator) -> float:
        """Seconds until the next visit."""
        return float(rng.exponential(DAY / self.visits)) / (1 + self.loyalty * clicks)
