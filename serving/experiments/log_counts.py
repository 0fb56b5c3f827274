"""Counts of an experiment from the event log, which has every impression with its arm.

A server that was killed, a Redis that was emptied or several servers change nothing. As in `counters`, an impression
counts once, as clicked or not, and an interaction if the impression showed its item and within `attribution` after
it, here by event time. Each user is a unit of its own. Users who were shown more than one arm are left out of all,
and counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serving.experiments.assignment import Experiment
from streaming.events.columns import IMPRESSION, INTERACTION

Counts = npt.NDArray[np.int64]
_MINUTE = 60_000
"""How long before its impression an interaction may come, by event time (ms)."""


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
class _User:
    arms: set[str] = field(default_factory=set)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])


@dataclass(slots=True)
class _Open:
    """An impression that can still be clicked."""

    user: _User
    time: int
    items: frozenset[str]
    column: int
    """Of `_User.counts`: where a click counts."""


class LogCounts:
    """Counts `experiment` in events of a log, in order. Times are event times in ms.

    Memory: each user with an impression since `before`, and the impressions of the last `attribution`. That clock is
    the earliest time in the last two batches, so that events of a clock that is ahead make nothing forgotten.
    """

    def __init__(
        self,
        experiment: Experiment,
        since: int,
        before: int,
        actions: AbstractSet[str] = frozenset({"click"}),
        attribution: int = 21_600_000,
    ) -> None:
        """Impressions of all kinds from `before` to `since` say what users did before they were assigned."""
        self._arms = {arm.name for arm in experiment.arms}
        self._experiment, self._since, self._before = experiment, since, before
        self._actions = pa.array(sorted(actions), pa.string())
        self._attribution = attribution
        self._users = defaultdict[str, _User](_User)
        self._open: dict[str, _Open] = {}
        self._early = defaultdict[str, list[tuple[int, str]]](list)
        self._earliest, self._swept = 0, 0
        self.unknown_arms = 0
        """Impressions of arms that the experiment does not have."""

    def begin_partition(self) -> None:
        """Interactions are in the partition of their impression, whose events come next."""
        self._open, self._early = {}, defaultdict(list)
        self._earliest, self._swept = 0, 0

    def count(self, events: pa.RecordBatch) -> None:
        """Count events (`EVENT_SCHEMA`) of one partition."""
        kinds = events.column("kind")
        acted = pc.and_(pc.equal(kinds, INTERACTION), pc.is_in(events.column("action"), self._actions))
        chosen = events.filter(pc.or_(pc.equal(kinds, IMPRESSION), acted))
        columns = ("kind", "time", "id", "user", "experiment", "arm", "items", "impression", "item")
        for event in chosen.select(columns).to_pylist():
            if event["kind"] == IMPRESSION:
                if event["time"] >= self._before:
                    self._shown(event["id"], event["time"], event["user"], event, event["items"])
            else:
                self._clicked(event["impression"], event["time"], event["item"])
        if len(chosen):
            earliest = pc.min(chosen.column("time")).as_py()
            self._sweep(min(self._earliest, earliest))
            self._earliest = earliest

    def arms(self) -> dict[str, UnitCounts]:
        """The users of each arm, in the order of the experiment's arms."""
        found: dict[str, list[list[int]]] = {arm.name: [] for arm in self._experiment.arms}
        for user in self._users.values():
            if len(user.arms) == 1:
                found[next(iter(user.arms))].append(user.counts)
        return {name: UnitCounts(*np.array(counts, np.int64).reshape(-1, 4).T) for name, counts in found.items()}

    @property
    def exposed_to_several(self) -> int:
        """Users who were shown more than one arm: by a change of weights, or by an error in assignment."""
        return sum(len(user.arms) > 1 for user in self._users.values())

    def _shown(self, name: str, time: int, user_name: str, said: dict[str, str], items: Iterable[str]) -> None:
        if name in self._open:
            return
        earlier = time < self._since
        if not earlier:
            if said["experiment"] != self._experiment.name or not self._experiment.lasts(time):
                return
            if said["arm"] not in self._arms:
                self.unknown_arms += 1
                return
        user = self._users[user_name]
        if not earlier:
            user.arms.add(said["arm"])
        column = 2 if earlier else 0
        user.counts[column] += 1
        self._open[name] = _Open(user, time, frozenset(items), column + 1)
        for clicked, item in self._early.pop(name, ()):
            self._clicked(name, clicked, item)

    def _clicked(self, impression: str, time: int, item: str) -> None:
        shown = self._open.get(impression)
        if shown is None:
            self._early[impression].append((time, item))
        elif shown.column and item in shown.items and shown.time - _MINUTE <= time <= shown.time + self._attribution:
            shown.user.counts[shown.column] += 1
            shown.column = 0

    def _sweep(self, now: int) -> None:
        """Forget what can no longer meet, once a tenth of `attribution` has passed."""
        if abs(now - self._swept) < self._attribution // 10:
            return
        self._swept = now
        least = now - self._attribution - _MINUTE
        self._open = {name: shown for name, shown in self._open.items() if shown.time >= least}
        for name in [name for name, clicks in self._early.items() if clicks[0][0] < least]:
            del self._early[name]
