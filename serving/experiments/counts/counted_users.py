"""What the users of an experiment did: their arms, impressions, clicks and goals. Suffixes: U users, V visits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from serving.experiments.goals import Floats, Goal, returns

Counts = npt.NDArray[np.int64]
Visits = tuple[Sequence[int], Sequence[int]]
"""The user's number and the time of each impression."""
_NEVER = 2**62
"""As a time: of users who were not in the experiment."""


@dataclass(frozen=True, slots=True)
class UnitCounts:
    """Impressions and clicked impressions of the users of an arm, since the start and in the time before it."""

    impressions_U: Counts
    clicks_U: Counts
    earlier_impressions_U: Counts
    earlier_clicks_U: Counts

    def __len__(self) -> int:
        return len(self.impressions_U)


@dataclass(slots=True)
class CountedUser:
    number: int
    reached: list[float]
    """Two figures of each goal: since the start, and before it."""
    arms: set[str] = field(default_factory=set)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    first: int = _NEVER
    """Time of the first impression in the experiment."""
    first_before: int = _NEVER
    """The same in the time before it."""


class CountedUsers:
    """Users by name, with two figures of each of `goals` goals; `arms` are the names of the experiment's arms."""

    def __init__(self, arms: Sequence[str], goals: int) -> None:
        self._arms = arms
        self._n_goals = goals
        self._by_name: dict[str, CountedUser] = {}

    def assigned(self) -> dict[str, dict[str, CountedUser]]:
        """The users of each arm, by name, without those who were shown several."""
        found: dict[str, dict[str, CountedUser]] = {name: {} for name in self._arms}
        for name, user in self._by_name.items():
            if len(user.arms) == 1:
                found[next(iter(user.arms))][name] = user
        return found

    def of(self, name: str) -> CountedUser:
        """A user, who is a new one if the name was not seen before."""
        if name not in self._by_name:
            self._by_name[name] = CountedUser(len(self._by_name), [0.0] * (2 * self._n_goals))
        return self._by_name[name]

    def forget(self, name: str) -> CountedUser | None:
        """Count anew for a user, who keeps the number; returns what is no longer counted, if anything was."""
        user = self._by_name.get(name)
        if user is not None:
            self._by_name[name] = CountedUser(user.number, [0.0] * (2 * self._n_goals))
        return user

    @property
    def in_several_arms(self) -> int:
        """Users who were shown more than one arm."""
        return sum(len(user.arms) > 1 for user in self._by_name.values())

    def arms(self) -> dict[str, UnitCounts]:
        """The users of each arm, in the order of the experiment's arms."""
        counts = {name: [user.counts for user in users.values()] for name, users in self.assigned().items()}
        return {name: UnitCounts(*np.array(of, np.int64).reshape(-1, 4).T) for name, of in counts.items()}

    def goals(self, goals: Sequence[Goal], visits: Visits, since: int) -> dict[str, dict[str, Floats]]:
        """By goal and arm, of its users: 1 (of a return: if it is known), the figure, and both before the start [4, U].

        `since` is the start (ms), to which those who are to have come back before have done so.
        """
        found: dict[str, dict[str, Floats]] = {goal.name: {} for goal in goals}
        back = self._returns([goal for goal in goals if goal.kind == "return"], visits, since)
        for arm, by_name in self.assigned().items():
            users = by_name.values()
            reached = np.array([user.reached for user in users], np.float64).reshape(len(users), 2 * len(goals)).T
            numbers, one = np.array([user.number for user in users], np.intp), np.ones(len(users))
            for place, goal in enumerate(goals):
                after, before = reached[2 * place : 2 * place + 2]
                if goal.kind == "return":
                    found[goal.name][arm] = back[goal.name][:, numbers]
                elif goal.kind == "conversion":
                    found[goal.name][arm] = np.stack([one, np.minimum(after, 1), one, np.minimum(before, 1)])
                else:
                    found[goal.name][arm] = np.stack([one, after, one, before])
        return found

    def _returns(self, goals: Sequence[Goal], visits: Visits, since: int) -> dict[str, Floats]:
        """By goal, of all users by their number [4, U]."""
        users = self._by_name.values()
        firsts, before = (np.array([getattr(u, name) for u in users], np.int64) for name in ("first", "first_before"))
        users_V, times_V = (np.array(column, np.int64) for column in visits)
        last, earlier_V = int(times_V.max(initial=0)), times_V < since
        return {
            goal.name: np.stack(
                [
                    *returns(goal, firsts, users_V, times_V, last),
                    *returns(goal, before, users_V[earlier_V], times_V[earlier_V], since),
                ]
            )
            for goal in goals
        }
