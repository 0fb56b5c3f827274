"""AUC within groups of a stream, such as the lists of impressions. Shape suffix: R rows."""

from __future__ import annotations

import math

from recsys.evaluation.metrics import Array, by_group, ratio


class GroupAuc:
    """`grouped_auc` of a stream, in memory that does not grow: the rows of a group come in one call.

    Groups of one class are left out and counted in `undefined`.

    >>> within = GroupAuc()
    >>> within.add([1, 1, 2, 2, 2, 2], [1, 0, 1, 0, 0, 0], [0.9, 0.1, 0.2, 0.8, 0.9, 0.1])
    >>> within.by_rows, within.by_groups
    (0.5555555555555555, 0.6666666666666666)
    """

    def __init__(self) -> None:
        self.groups = self.rows = self.undefined = 0
        self._by_groups = self._by_rows = 0.0

    def add(self, groups: Array, labels: Array, scores: Array) -> None:
        """Count whole groups. Raises ValueError as `metrics.auc`."""
        for summary in by_group(groups, labels, scores).values():
            if math.isnan(summary.auc):
                self.undefined += 1
                continue
            self.groups += 1
            self.rows += summary.rows
            self._by_groups += summary.auc
            self._by_rows += summary.auc * summary.rows

    @property
    def by_rows(self) -> float:
        """The mean, each group counting by its rows; NaN without a group."""
        return ratio(self._by_rows, self.rows)

    @property
    def by_groups(self) -> float:
        """The mean, each group counting alike; NaN without a group."""
        return ratio(self._by_groups, self.groups)
