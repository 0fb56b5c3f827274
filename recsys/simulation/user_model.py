"""Who is simulated: users, items, and how likely a user clicks on an item that is looked at.

Shape suffixes: U users, I items, D dimensions of taste.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from streaming.events.schema import Features

Floats = npt.NDArray[np.float64]
DAY = 86_400.0


class UserModel(Protocol):
    """Users that act. Any object with these can be simulated: `PlantedUsers`, or one that asks a language model."""

    @property
    def users(self) -> Sequence[str]:
        """Their ids."""
        ...

    @property
    def items(self) -> Sequence[str]:
        """The ids of what they may be shown."""
        ...

    def features_of_user(self, user: int) -> Features:
        """What the platform knows of a user, given by the place in `users`."""
        ...

    def features_of_item(self, item: int) -> Features: ...

    def likes(self, user: int, seconds: float) -> Floats:
        """The chance [I] that the user clicks on each item when looking at it, so long after the start."""
        ...


class PlantedUsers:
    """Tastes drawn from normal distributions: like(u, i) = sigmoid(base + 2 <t_u, t_i> / sqrt(D) + q_i(t)).

    q_i is an item's quality, whose share `drift` goes up and down once a day, each item at its own hour. An item's
    feature `kind` is the dimension in which its taste is largest, a user's `age` says nothing.
    """

    def __init__(self, users: int, items: int, *, seed: int = 0, base: float = -1.5, drift: float = 0.5) -> None:
        if users < 1 or items < 2:
            raise InvalidValueError(f"{users} users and {items} items: there must be a user and two items at least")
        rng = np.random.default_rng([seed, 1])
        self.users = [f"user-{number}" for number in range(users)]
        self.items = [f"item-{number}" for number in range(items)]
        self._base, self._drift = base, drift
        self.tastes_UD, self.tastes_ID = rng.normal(size=(users, _TASTES)), rng.normal(size=(items, _TASTES))
        self._quality_I, self._hour_I = rng.normal(size=items), rng.uniform(0, 2 * np.pi, items)
        self._ages_U = rng.integers(18, 80, users)

    def features_of_user(self, user: int) -> Features:
        return {"age": int(self._ages_U[user])}

    def features_of_item(self, item: int) -> Features:
        return {"kind": f"kind-{int(self.tastes_ID[item].argmax())}"}

    def likes(self, user: int, seconds: float) -> Floats:
        daily_I = np.cos(2 * np.pi * seconds / DAY + self._hour_I)
        quality_I = self._quality_I * (1 - self._drift) + self._drift * daily_I
        taste_I = self.tastes_ID @ self.tastes_UD[user] * (2 / np.sqrt(_TASTES))
        return np.asarray(1 / (1 + np.exp(-(self._base + taste_I + quality_I))))


_TASTES = 4
