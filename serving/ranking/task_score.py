"""The score that ranks items: a weighted sum of the tasks' probabilities.

Shape suffixes: C candidates, T tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError
from serving.ranking.exploration import Floats


class TaskScore:
    """Ranks by `weights`, by the name of the task; other tasks of a model are ignored.

    >>> buys = TaskScore({"click": 1.0, "buy": 5.0})
    >>> buys.of(np.array([[0.5, 0.25], [0.75, 0.125]]), ["click", "buy"])
    array([1.75 , 1.375])
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Raises InvalidValueError unless all weights are finite and at least one is not 0."""
        if not all(map(math.isfinite, weights.values())) or not any(weights.values()):
            raise InvalidValueError(f"score is {dict(weights)}: its weights must be finite, and at least one not 0")
        self._weights = {task: weight for task, weight in weights.items() if weight}
        self.tasks = frozenset(self._weights)
        """The tasks with a weight other than 0."""

    def of(self, probabilities_CT: npt.ArrayLike, tasks: Sequence[str]) -> Floats:
        """The scores [C], from the probabilities of `tasks`."""
        return np.asarray(probabilities_CT, np.float64) @ self._of_tasks(tasks)

    def share(self, scores_C: Floats, tasks: Sequence[str]) -> Floats:
        """Scores scaled from their possible range to [0, 1]; with one task its probabilities."""
        weights_T = self._of_tasks(tasks)
        least, greatest = weights_T.clip(max=0).sum(), weights_T.clip(min=0).sum()
        return np.asarray((scores_C - least) / (greatest - least), np.float64)

    def _of_tasks(self, tasks: Sequence[str]) -> Floats:
        """Weights [T]."""
        return np.array([self._weights.get(task, 0.0) for task in tasks])
