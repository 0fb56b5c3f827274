"""Feedback by how its pairs came to be, which decides what may be estimated from it. Shape suffix: R pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt

from recsys.errors import InvalidValueError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_Figures = TypeVar("_Figures")


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Users, items and labels of pairs; each pair once, labels 0 or 1. Raises InvalidValueError otherwise."""

    users_R: Ints
    items_R: Ints
    labels_R: Floats

    def __post_init__(self) -> None:
        if not self.users_R.shape == self.items_R.shape == self.labels_R.shape or self.users_R.ndim != 1:
            raise InvalidValueError("feedback has one user, item and label for each pair")
        if not len(self.users_R):
            raise InvalidValueError("there is no feedback")
        if not np.isin(self.labels_R, (0.0, 1.0)).all():
            raise InvalidValueError("labels of feedback are 0 or 1")
        if len(np.unique(np.stack([self.users_R, self.items_R]), axis=1).T) != len(self):
            raise InvalidValueError("a pair of user and item occurs twice in the feedback: keep one of them")

    def __len__(self) -> int:
        return len(self.users_R)

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        return type(self)(self.users_R[rows], self.items_R[rows], self.labels_R[rows])


class SelfSelected(_Pairs):
    """Pairs that users or a policy chose: what a model learns from."""


class ExplorationSlice(_Pairs):
    """Pairs drawn uniformly that are not judged by: propensities may be estimated from their labels."""


class TestFeedback:
    """Pairs drawn uniformly whose labels can only judge scores.

    There is no way to its labels but `judge`, and but `explored`, which takes the pairs that it gives away out of what
    is judged. So no label can both shape a propensity and judge the model that used it.
    """

    __slots__ = ("__pairs",)
    __test__ = False  # no class of tests

    def __init__(self, users_R: Ints, items_R: Ints, labels_R: Floats) -> None:
        self.__pairs = _Pairs(users_R, items_R, labels_R)

    def __len__(self) -> int:
        return len(self.__pairs)

    @property
    def pairs(self) -> tuple[Ints, Ints]:
        """Users and items, to be scored."""
        return self.__pairs.users_R, self.__pairs.items_R

    def judge(self, scores_R: Floats, by: Callable[[Ints, Floats, Floats], _Figures]) -> _Figures:
        """`by(users, labels, scores)`, such as `recsys.evaluation.user_metrics.judged_by_user`."""
        return by(self.__pairs.users_R, self.__pairs.labels_R, scores_R)

    def explored(self, share: float, seed: int) -> tuple[ExplorationSlice, TestFeedback]:
        """A share of the pairs as an exploration slice, and the rest to judge by."""
        if not 0 < share < 1:
            raise InvalidValueError(f"the share of explored pairs is {share}: it must be within (0, 1)")
        order = np.random.default_rng(seed).permutation(len(self))
        cut = max(1, round(share * len(self)))
        given, kept = (self.__pairs.take(part) for part in (order[:cut], order[cut:]))
        rest = TestFeedback(kept.users_R, kept.items_R, kept.labels_R)
        return ExplorationSlice(given.users_R, given.items_R, given.labels_R), rest
