"""Users who come, look, click and come again, in event time.

Shape suffixes: I items, K positions of a list.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

import msgspec
import numpy as np

from recsys.simulation.habits import Habits
from recsys.simulation.platform import Platform, first_events
from recsys.simulation.user_model import Floats, UserModel
from streaming.events.schema import Interaction


class ArmTruth(msgspec.Struct):
    """What the lists of an arm are worth: `expected` clicks, by the user model and habits, and those that came."""

    lists: int = 0
    clicks: int = 0
    expected: float = 0.0


class Truth(msgspec.Struct):
    """What a log does not tell: the value of each arm, and of the best and of random lists for the same visits."""

    arms: dict[str, ArmTruth] = {}
    best: float = 0.0
    """Expected clicks a list, if every list had shown what its user likes most."""
    random: float = 0.0
    """The same, if every list had been drawn from all items alike."""
    visits: int = 0

    def value(self, arm: str) -> float:
        """Expected clicks of a list of the arm."""
        of_arm = self.arms[arm]
        return of_arm.expected / of_arm.lists


class Simulation:
    """The users of `model` on `platform` from `start` (event time, ms). The same seed gives the same users."""

    def __init__(self, model: UserModel, habits: Habits, platform: Platform, start: int, seed: int = 0) -> None:
        self._model, self._habits, self._platform, self._start = model, habits, platform, start
        self._rng = np.random.default_rng([seed, 2])
        self._order = itertools.count()
        self._coming: list[tuple[float, int, int | Interaction]] = []
        self.truth = Truth()

    def run(self, seconds: float) -> Iterator[float]:
        """Simulate so long, in event time; yields the time (s since the start) after each visit.

        Clicks on lists shown before the end come, even if they come later.
        """
        for event in first_events(self._model, self._start):
            self._platform.take(event)
        for user in range(len(self._model.users)):
            self._plan(self._habits.wait(0, self._rng), user)
        while self._coming:
            time, _, what = heapq.heappop(self._coming)
            if isinstance(what, Interaction):
                self._platform.take(what)
            elif time < seconds:
                clicks = self._visit(what, time)
                self._plan(time + self._habits.wait(clicks, self._rng), what)
                yield time

    def _plan(self, time: float, what: int | Interaction) -> None:
        heapq.heappush(self._coming, (time, next(self._order), what))

    def _visit(self, user: int, time: float) -> int:
        """Number of clicks, which are planned."""
        now = self._start + round(1000 * time)
        likes_I = self._model.likes(user, time)
        shown = self._platform.show(user, now, min(self._habits.shown, len(self._model.items)), likes_I)
        chances_K = self._habits.looks(len(shown.items)) * likes_I[shown.items]
        clicked_K = self._rng.random(len(shown.items)) < chances_K
        for place in np.flatnonzero(clicked_K).tolist():
            later = time + float(self._rng.exponential(self._habits.delay))
            item = self._model.items[shown.items[place]]
            self._plan(later, Interaction(self._start + round(1000 * later), shown.impression, item))
        self._count(shown.arm, float(chances_K.sum()), int(clicked_K.sum()), likes_I)
        return int(clicked_K.sum())

    def _count(self, arm: str, expected: float, clicks: int, likes_I: Floats) -> None:
        of_arm = self.truth.arms.setdefault(arm, ArmTruth())
        of_arm.lists += 1
        of_arm.clicks += clicks
        of_arm.expected += expected
        looks_K = self._habits.looks(min(self._habits.shown, len(likes_I)))
        self.truth.visits += 1
        share = 1 / self.truth.visits
        best = float(np.sort(likes_I)[::-1][: len(looks_K)] @ looks_K)
        self.truth.best += share * (best - self.truth.best)
        self.truth.random += share * (float(likes_I.mean() * looks_K.sum()) - self.truth.random)
