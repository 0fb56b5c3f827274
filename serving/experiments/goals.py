"""What an experiment is after beside clicks: whether users did something, what it was worth, whether they came back.

Shape suffixes: U users, V visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["conversion", "value", "return"]
Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

VISIT: Final = 1_800_000
"""How long (ms) after the first impression another one is of a new visit."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure of each user, whose mean over the users of an arm is judged.

    `conversion`: 1 if the user did one of `actions` with a shown item, else 0. `value`: the sum of the values of these
    actions. `return`: 1 if the user came back. Actions count for `window` (ms) after their impression, and a user comes
    back by an impression of any kind more than `VISIT` and at most `window` after the first one in the experiment.
    """

    name: str
    kind: Kind
    window: int
    actions: frozenset[str] = frozenset()
    min_value: float | None = None
    """Actions with a smaller value do not count."""

    def counts(self, action: str, value: float, after: int) -> bool:
        """Whether an action of this value counts that came so long (ms) after its impression."""
        return action in self.actions and after <= self.window and (self.min_value is None or value >= self.min_value)


def returns(goal: Goal, firsts_U: Times, users_V: Times, times_V: Times, end: int) -> tuple[Floats, Floats]:
    """Whether it is known if a user came back [U], and whether the user did [U], by impressions until `end` (ms).

    `firsts_U` are the times (ms) of the impressions after which they may, `users_V` and `times_V` the places in U and
    the times of all impressions. It is known of those whose `window` has passed at `end`.

    >>> goal = Goal("back", "return", window=2 * VISIT)
    >>> firsts, visits = np.array([0, 9, VISIT]), np.array([0, VISIT + 1, 9, 2 * VISIT + 10])
    >>> [column.tolist() for column in returns(goal, firsts, np.array([0, 0, 1, 1]), visits, 2 * VISIT + 10)]
    [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    after_V = times_V - firsts_U[users_V]
    back_U = np.zeros(len(firsts_U))
    back_U[users_V[(after_V > VISIT) & (after_V <= goal.window)]] = 1.0
    known_U = (firsts_U + goal.window <= end).astype(np.float64)
    return known_U, back_U * known_U
