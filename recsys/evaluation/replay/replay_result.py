"""The result file of a replay: plain data, the same bytes for the same log, configuration and seed.

It holds no clock time, no duration and no path.
"""

from __future__ import annotations

from typing import Any

import msgspec
import msgspec.structs

from recsys.config.sections.learning.tasks import CLICK
from recsys.evaluation.result_file import ResultFile
from recsys.off_policy.estimates import Estimate

Figure = float | None
"""A number, or None where it is undefined (such as the AUC of rows of one class)."""


Figures = dict[str, int | float | None]
"""Over some rows: `rows`, `positives` (the weight of positive labels) and each of `metrics.METRICS`."""


class Gain(msgspec.Struct, frozen=True):
    """Difference of mean window AUC between two arms on the same rows, with a paired bootstrap interval."""

    over: str
    auc: Figure
    low: Figure
    high: Figure


class Bin(msgspec.Struct, frozen=True):
    """One bin of the reliability diagram."""

    predicted: float
    observed: float
    rows: float


class ArmResult(msgspec.Struct, frozen=True):
    """One arm. `interval_auc` is the mean AUC of its refresh intervals, weighted by rows as in Monolith.

    `interval_auc_mean` is the unweighted mean, `frozen_interval_auc` that of the frozen weights over the same intervals
    (weighted). `window_auc` goes with `ReplayResult.windows`. `known_users` and `known_items` are the shares of rows
    whose user or item had an embedding row when scored.
    """

    name: str
    refreshes: int
    all: Figures
    interval_auc: Figure
    interval_auc_mean: Figure
    frozen_interval_auc: Figure
    window_auc: list[Figure]
    gains: list[Gain]
    reliability: list[Bin]
    slices: dict[str, Figures]
    known_users: Figure
    known_items: Figure
    scores_sha256: str


class Window(msgspec.Struct, frozen=True):
    """Consecutive rows of the online stage; all windows have equally many, but for rounding."""

    start: int
    rows: int


class TaskResult(msgspec.Struct, frozen=True):
    """What a replay found of a further task; as in `ReplayResult`."""

    windows: list[Window]
    arms: list[ArmResult]


class OrderResult(msgspec.Struct, frozen=True):
    """Clicks in the first `top` positions of a list, had this arm ordered it; see `recsys.off_policy.estimates`.

    `refused` says why there are no estimates; it is empty if there are. `gain` is DR less `logged`.
    """

    arm: str
    top: int
    effective_lists: float
    logged: Estimate
    refused: str
    ips: Estimate | None
    snips: Estimate | None
    dr: Estimate | None
    gain: Estimate | None


class Orders(msgspec.Struct, frozen=True):
    """What other orders of the log's lists would have brought.

    `lists` were judged by. Drawn ones that are `cut_short`, so that they do not show all candidates, or `incomplete`,
    with items that were not scored, were not.
    """

    lists: int
    cut_short: int
    incomplete: int
    arms: list[OrderResult]


class ReplayResult(ResultFile, frozen=True):
    """What a replay found. Times are event times in ms; `until` is the exclusive end of the online stage.

    `counts` says what became of events and examples, `config` what was replayed. `slices` of the arms are the same
    rows in every arm: `new` ids had no row of their own at the end of the batch stage. `windows` and `arms` are of the
    first task, `tasks` has the others by name, if there are any. `orders` is there if lists were drawn at random.
    """

    made_by = "recsys replay"
    batch_until: int
    until: int
    counts: dict[str, int]
    config: dict[str, Any]
    windows: list[Window]
    arms: list[ArmResult]
    tasks: dict[str, TaskResult] | msgspec.UnsetType = msgspec.UNSET
    orders: Orders | msgspec.UnsetType = msgspec.UNSET

    def of_tasks(self) -> dict[str, ReplayResult]:
        """The result of every task by name, each as if it were the only one; the first task is `click`."""
        further = {} if self.tasks is msgspec.UNSET else self.tasks
        alone = {name: (one.windows, one.arms) for name, one in further.items()}
        every = {CLICK: (self.windows, self.arms)} | alone
        replace = msgspec.structs.replace
        return {
            name: replace(
                self,
                windows=windows,
                arms=arms,
                tasks=msgspec.UNSET,
                orders=self.orders if name == CLICK else msgspec.UNSET,
            )
            for name, (windows, arms) in every.items()
        }

    def arm(self, name: str) -> ArmResult:
        """Raises KeyError, which lists the names, if there is no such arm."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"no arm {name!r}; there are {[arm.name for arm in self.arms]}")
