"""What must not get worse by an experiment, counted from the impressions in the log.

Shape suffixes: U units of an arm: users, or groups of users.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from serving.experiments.assignment import POPULARITY, Experiment

Watched = Literal["latency", "degraded", "diversity", "coverage"]
Floats = npt.NDArray[np.float64]

GROUPS: Final = {"diversity": 2, "coverage": 20}
"""Users whose first lists are compared with each other."""


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One figure of the arms that may be worse than the first arm's by at most `margin`.

    `latency`: mean time of an impression, in ms. `degraded`: share of impressions that are not what the model would
    have shown. `diversity`, `coverage`: how many different items are in the first lists of 2, and of 20, users who came
    one after the other, as a share of the places; between 2 users it says how personal lists are, between 20 how much
    of the catalogue is shown. `alpha` is its own, shared by the arms.
    """

    name: Watched
    alpha: float = 0.05
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise InvalidValueError(f"alpha is {self.alpha:g}; it must be above 0 and below 0.5, such as 0.05")
        if self.margin < 0:
            raise InvalidValueError(f"margin is {self.margin:g}; it is how much worse is borne, so at least 0")

    @property
    def worse(self) -> int:
        """Sign of a difference that is worse."""
        return -1 if self.name in GROUPS else 1


class GuardrailCounts:
    """Counts what guardrails watch, from impressions of `experiment`.

    Memory: eight numbers for each user, and the lists of at most 20 users for each arm.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._by_popularity = {arm.name for arm in experiment.arms if arm.model == POPULARITY}
        self._users = defaultdict[str, list[float]](lambda: [0.0] * 8)
        self._lists: dict[tuple[str, str], list[Sequence[str]]] = {}
        self._groups = defaultdict[tuple[str, str], list[tuple[int, int]]](list)

    def count(self, user: str, said: Mapping[str, Any], *, first: bool, earlier: bool = False) -> None:
        """Count an impression by its columns in the log.

        `first`: whether it is the user's first one; `earlier`: whether it is of the time before, when arms were others.
        """
        figures, at = self._users[user], 2 * earlier
        if said["value"] is not None:
            figures[at] += 1
            figures[at + 1] += said["value"]
        by_popularity = said["model"] == POPULARITY and said["arm"] not in self._by_popularity
        figures[at + 4] += 1
        figures[at + 5] += bool(said["action"]) or (by_popularity and not earlier)
        if first:
            for name, size in GROUPS.items():
                self._group((name, said["arm"]), said["items"], size)

    def forget(self, user: str) -> None:
        """Count nothing of a user, until the next impression. Groups, which name nobody, stay."""
        self._users.pop(user, None)

    def _group(self, place: tuple[str, str], items: Sequence[str], size: int) -> None:
        lists = self._lists.setdefault(place, [])
        lists.append(items)
        if len(lists) == size:
            self._groups[place].append((sum(map(len, lists)), len(set().union(*lists))))
            lists.clear()

    def columns(self, name: Watched, users: Mapping[str, Iterable[str]]) -> dict[str, Floats]:
        """By arm, of its `users` or of groups of them: how many impressions or places, and the figure's sum over them.

        [4, U]; the last two rows are the same of the time before, of groups they are 0.
        """
        found = {}
        for arm, names in users.items():
            if name in GROUPS:
                rows: Sequence[Sequence[float]] = [(*pair, 0.0, 0.0) for pair in self._groups[name, arm]]
            else:
                at = 0 if name == "latency" else 4
                rows = [self._users[user][at : at + 4] for user in names]
            found[arm] = np.array(rows, np.float64).reshape(-1, 4).T
        return found


def check_guardrails(experiment: Experiment, guardrails: Sequence[Guardrail]) -> None:
    """Raises InvalidValueError for guardrails that could never say anything."""
    names: AbstractSet[str] = {one.name for one in guardrails}
    if len(names) < len(guardrails):
        raise InvalidValueError("one figure is watched twice: keep one of both")
    if guardrails and len(experiment.arms) < 2:
        raise InvalidValueError(
            "have no effect with one arm: none can be worse than another. Add an arm, or delete them"
        )
    if "degraded" in names and all(arm.model == POPULARITY for arm in experiment.arms):
        raise InvalidValueError(
            "'degraded' has no data: all arms rank by popularity, and are never degraded. Delete it"
        )
